#!lua flags=no-writes,no-cluster
-- ARGV: prefix, upper bound of the sort keys, limit. Newest first: plan, row, definition, and so on.
local prefix = ARGV[1]
local found = {}
for _, key in ipairs(redis.call('ZREVRANGEBYLEX', prefix .. ':plans', ARGV[2], '-', 'LIMIT', 0, ARGV[3])) do
  local plan = string.match(key, '^0*(%d+)$')
  local kept = redis.call('HMGET', prefix .. ':plan:' .. plan, 'row', 'definition')
  found[#found + 1] = plan
  found[#found + 1] = kept[1]
  found[#found + 1] = kept[2]
end
return found
