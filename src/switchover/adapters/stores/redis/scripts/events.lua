#!lua flags=no-writes,no-cluster
-- ARGV: prefix, plan, first position, limit. Events of a plan that is published.
local plan = ARGV[1] .. ':plan:' .. ARGV[2]
if redis.call('EXISTS', plan) == 0 then return {} end
return redis.call('XRANGE', plan .. ':events', ARGV[3], '+', 'COUNT', ARGV[4])
