#!lua flags=no-writes,no-cluster
-- ARGV: prefix, tenant, index of the last. The tenant's row, then of its tasks, the newest first: plan, ordinal, row.
local prefix, tenant = ARGV[1], ARGV[2]
local found = {redis.call('HGET', prefix .. ':tenants', tenant)}
for _, member in ipairs(redis.call('ZREVRANGE', prefix .. ':arrived:' .. tenant, 0, ARGV[3])) do
  local plan, ordinal = string.match(member, '^(%d+)-(%d+)$')
  found[#found + 1] = plan
  found[#found + 1] = ordinal
  found[#found + 1] = redis.call('HGET', prefix .. ':plan:' .. plan .. ':tasks', ordinal)
end
return found
