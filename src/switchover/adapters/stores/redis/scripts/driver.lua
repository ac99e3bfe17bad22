#!lua flags=no-writes,no-cluster
-- ARGV: prefix. Who drives, or drove last: owner, epoch, since, 1 when the lease has not run out.
local held = redis.call('HMGET', ARGV[1] .. ':driver', 'owner', 'epoch', 'since', 'holder', 'until')
if not held[2] then return false end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local alive = held[4] ~= '' and tonumber(held[5]) > now
return {held[1], held[2], held[3], alive and 1 or 0}
