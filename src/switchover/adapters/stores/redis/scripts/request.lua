#!lua flags=no-cluster
-- ARGV: prefix, request. Leaves a request; answers its number.
local prefix = ARGV[1]
local call = redis.call
for key, wanted in pairs({requests = 'hash', open = 'zset', meta = 'hash'}) do
  local found = call('TYPE', prefix .. ':' .. key).ok
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. prefix .. ':' .. key .. ' is a ' .. found)
  end
end
local id = call('HINCRBY', prefix .. ':meta', 'request', 1)
call('HSET', prefix .. ':requests', id, ARGV[2])
call('ZADD', prefix .. ':open', id, id)
call('HINCRBY', prefix .. ':meta', 'changes', 1)
redis.pcall('PUBLISH', prefix .. ':heard', 'requests') -- a hint: whoever may not publish does without
return id
