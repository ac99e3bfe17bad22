#!lua flags=no-writes,no-cluster
-- ARGV: prefix, then plan and ordinal of each. Of those that exist: plan, ordinal, row, config, previous, and of the
-- tenant its row, hold and last known good.
local prefix = ARGV[1]
local call = redis.call
local found = {}
for at = 2, #ARGV, 2 do
  local plan, ordinal = prefix .. ':plan:' .. ARGV[at], ARGV[at + 1]
  local row = call('HGET', plan .. ':tasks', ordinal)
  if row and call('EXISTS', plan) == 1 then
    local tenant = string.match(row, '^%d+ (%S+) ')
    for _, value in ipairs({
      ARGV[at],
      ordinal,
      row,
      call('HGET', plan .. ':configs', ordinal),
      call('HGET', plan .. ':previous', ordinal),
      call('HGET', prefix .. ':tenants', tenant),
      call('HGET', prefix .. ':holds', tenant),
      call('HGET', prefix .. ':known_good', tenant),
    }) do
      found[#found + 1] = value
    end
  end
end
return found
