#!lua flags=no-writes,no-cluster
-- ARGV: prefix. Name, row and last use of every token.
local prefix = ARGV[1]
local found = {}
local kept = redis.call('HGETALL', prefix .. ':tokens')
for at = 1, #kept, 2 do
  found[#found + 1] = kept[at]
  found[#found + 1] = kept[at + 1]
  found[#found + 1] = redis.call('HGET', prefix .. ':token_used', kept[at])
end
return found
