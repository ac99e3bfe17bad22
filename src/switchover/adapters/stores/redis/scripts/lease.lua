#!lua flags=allow-oom,no-cluster
--[[
The driver's lease, judged by the clock of this server and no other. It is written even when memory is short: who holds
the lease and cannot commit must not lose it for that.

ARGV: prefix, verb, and for acquire: holder, owner, since, milliseconds; for renew: epoch, holder, milliseconds; for
release and sweep: epoch, holder. Acquire answers {epoch, number of the last commit}, or nil while somebody else drives;
the others 1, or nil when the lease is another's.
]]
local prefix, verb = ARGV[1], ARGV[2]
local call = redis.call
local driver, meta = prefix .. ':driver', prefix .. ':meta'
local held = call('HMGET', driver, 'epoch', 'holder', 'until')
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- What a commit had laid ready that never came: nobody could see it, and nobody ever will.
local function sweep()
  for _, plan in ipairs(call('SMEMBERS', prefix .. ':staged')) do
    if call('EXISTS', prefix .. ':plan:' .. plan) == 0 then
      for _, name in ipairs({'tasks', 'configs', 'previous', 'status', 'heads', 'events', 'images', 'runs'}) do
        call('UNLINK', prefix .. ':plan:' .. plan .. ':' .. name)
      end
    end
  end
  call('UNLINK', prefix .. ':staged', prefix .. ':staged:tenants')
end

if verb == 'acquire' then
  if held[2] and held[2] ~= '' and tonumber(held[3]) > now then return false end
  local epoch = call('HINCRBY', driver, 'epoch', 1)
  call('HSET', driver, 'holder', ARGV[3], 'owner', ARGV[4], 'since', ARGV[5], 'until', now + tonumber(ARGV[6]))
  call('HSETNX', meta, 'format', 1)
  call('HINCRBY', meta, 'changes', 1)
  sweep()
  return {epoch, call('HGET', meta, 'commits') or '0'}
end
if held[1] ~= ARGV[3] or held[2] ~= ARGV[4] then return false end
if verb == 'renew' then
  call('HSET', driver, 'until', now + tonumber(ARGV[5]))
elseif verb == 'release' then
  call('HSET', driver, 'holder', '', 'until', 0)
  call('HINCRBY', meta, 'changes', 1)
else
  sweep()
end
return 1
