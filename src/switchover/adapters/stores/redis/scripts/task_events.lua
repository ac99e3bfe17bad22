#!lua flags=no-writes,no-cluster
--[[
ARGV: prefix, plan, ordinal, after, limit. Events of one task, in order.

Each event knows the position of the task's event before it (field p), so the way leads from the newest one back. Where
it meets an event that was forgotten, everything before it is forgotten too.
]]
local plan, ordinal = ARGV[1] .. ':plan:' .. ARGV[2], ARGV[3]
local after, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', plan) == 0 then return {} end
local head = redis.call('HGET', plan .. ':heads', ordinal)
if not head then return {} end
local sequence, position = string.match(head, '^(%d+) (%d+)$')
sequence = tonumber(sequence)
local back = {}
while sequence > after do
  local event = redis.call('XRANGE', plan .. ':events', position, position)[1]
  if not event then break end
  back[#back + 1] = event
  position = event[2][4]
  sequence = sequence - 1
end
local found = {}
for at = #back, math.max(#back - limit + 1, 1), -1 do found[#found + 1] = back[at] end
return found
