#!lua flags=no-writes,no-cluster
-- ARGV: prefix, after, limit. Requests without an answer: number, request, and so on.
local prefix = ARGV[1]
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', prefix .. ':open', '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', prefix .. ':requests', id)
end
return found
