#!lua flags=no-writes,no-cluster
-- ARGV: prefix, upper bound of the ends, limit. Plan and positions of the oldest and the newest event, where there are two.
local prefix, bound, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local call = redis.call
local found = {}
local at = 0
while #found < 3 * limit do
  local ended = call('ZRANGEBYLEX', prefix .. ':ended', '-', bound, 'LIMIT', at, 100)
  for _, member in ipairs(ended) do
    local plan = string.match(member, ':0*(%d+)$')
    local events = prefix .. ':plan:' .. plan .. ':events'
    if #found < 3 * limit and call('XLEN', events) > 1 then
      found[#found + 1] = plan
      found[#found + 1] = string.match(call('XRANGE', events, '-', '+', 'COUNT', 1)[1][1], '^%d+')
      found[#found + 1] = string.match(call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1][1], '^%d+')
    end
  end
  if #ended < 100 then break end
  at = at + 100
end
return found
