#!lua flags=no-writes,no-cluster
-- ARGV: prefix. What a driver must know: last arrival, newest plan, line, holds, and plan, row, definition of each live one.
local prefix = ARGV[1]
local call = redis.call
local known = call('HMGET', prefix .. ':meta', 'arrival', 'line')
local newest = call('ZREVRANGE', prefix .. ':plans', 0, 0)[1]
local plans = {}
for _, plan in ipairs(call('SMEMBERS', prefix .. ':live')) do
  local kept = call('HMGET', prefix .. ':plan:' .. plan, 'row', 'definition')
  plans[#plans + 1] = plan
  plans[#plans + 1] = kept[1]
  plans[#plans + 1] = kept[2]
end
return {known[1], newest or false, known[2], call('HGETALL', prefix .. ':holds'), plans}
