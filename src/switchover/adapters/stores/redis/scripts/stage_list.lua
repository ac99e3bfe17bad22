#!lua flags=no-cluster
-- ARGV: prefix, names of stages as JSON. The number of this list, which is written when it is new.
local lists, numbers = ARGV[1] .. ':stage_lists', ARGV[1] .. ':stage_list_numbers'
for _, key in ipairs({lists, numbers}) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= 'hash' then return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found) end
end
local number = redis.call('HGET', numbers, ARGV[2])
if not number then
  number = redis.call('HLEN', lists) + 1
  redis.call('HSET', lists, number, ARGV[2])
  redis.call('HSET', numbers, ARGV[2], number)
end
return tonumber(number)
