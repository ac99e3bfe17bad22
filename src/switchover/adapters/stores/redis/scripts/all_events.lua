#!lua flags=no-writes,no-cluster
--[[
ARGV: prefix, after, limit. The number of the newest event, the highest that was forgotten, then number, plan and entry
of each event that follows.

The log has one entry for each run of events of one plan; the events themselves are in their plan's stream.
]]
local prefix, after, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local call = redis.call
local known = call('HMGET', prefix .. ':meta', 'numbers', 'pruned')
local found = {known[1] or '0', known[2] or '0'}
local from = math.max(after, tonumber(found[2]), 0) + 1
local first = call('XREVRANGE', prefix .. ':log', string.format('%.0f', from), '-', 'COUNT', 1)[1]
local start = first and first[1] or '-'
local left = limit
while left > 0 do
  local runs = call('XRANGE', prefix .. ':log', start, '+', 'COUNT', 100)
  for _, run in ipairs(runs) do
    local number = tonumber(string.match(run[1], '^%d+'))
    local plan, position, count = run[2][2], tonumber(run[2][4]), tonumber(run[2][6])
    local skipped = math.max(from - number, 0)
    if left > 0 and skipped < count then
      local events = call('XRANGE', prefix .. ':plan:' .. plan .. ':events', string.format('%.0f', position + skipped),
        string.format('%.0f', position + count - 1), 'COUNT', left)
      for _, event in ipairs(events) do
        found[#found + 1] = string.format('%.0f', number + tonumber(string.match(event[1], '^%d+')) - position)
        found[#found + 1] = plan
        found[#found + 1] = event
      end
      left = left - #events
    end
    start = '(' .. run[1]
  end
  if #runs < 100 then break end
end
return found
