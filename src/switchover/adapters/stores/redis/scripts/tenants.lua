#!lua flags=no-writes,no-cluster
-- ARGV: prefix, then tenants. Of those that are known: tenant, row, hold, last known good, and so on.
local prefix = ARGV[1]
local call = redis.call
local found = {}
for at = 2, #ARGV do
  local tenant = ARGV[at]
  local row = call('HGET', prefix .. ':tenants', tenant)
  if row then
    found[#found + 1] = tenant
    found[#found + 1] = row
    found[#found + 1] = call('HGET', prefix .. ':holds', tenant)
    found[#found + 1] = call('HGET', prefix .. ':known_good', tenant)
  end
end
return found
