#!lua flags=no-writes,no-cluster
--[[
ARGV: prefix, plan, after, limit, pattern of the marks that are wanted. In order: ordinal, row, the tenant's row.

The marks of a plan's tasks are one string with a character per ordinal, so that a hundred thousand tasks are searched
in the time of a memory scan.
]]
local prefix, plan, pattern = ARGV[1], ARGV[2], ARGV[5]
local limit = tonumber(ARGV[4])
local call = redis.call
if call('EXISTS', prefix .. ':plan:' .. plan) == 0 then return {} end
local marks = call('GET', prefix .. ':plan:' .. plan .. ':status') or ''
local found = {}
local from = math.max(tonumber(ARGV[3]), 0) + 2 -- the first character has the number 1, and the ordinal 0
while #found < 3 * limit do
  local at = from <= #marks and string.find(marks, pattern, from)
  if not at then break end
  local row = call('HGET', prefix .. ':plan:' .. plan .. ':tasks', at - 1)
  found[#found + 1] = at - 1
  found[#found + 1] = row
  found[#found + 1] = call('HGET', prefix .. ':tenants', string.match(row, '^%d+ (%S+) '))
  from = at + 1
end
return found
