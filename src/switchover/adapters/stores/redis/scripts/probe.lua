#!lua flags=allow-oom,no-cluster
--[[
ARGV: prefix. Whether this user may run every command with which the other scripts write. A script that is refused one
halfway has written the rest already, so this is asked before anything is, and on a key that means nothing.
]]
local key = ARGV[1] .. ':probe'
local call = redis.call
call('UNLINK', key)
call('HSET', key, 'a', 1)
call('HSETNX', key, 'a', 1)
call('HINCRBY', key, 'a', 1)
call('HDEL', key, 'a')
call('SADD', key, 'a')
call('SREM', key, 'a')
call('SETRANGE', key, 1, 'a')
call('UNLINK', key)
call('XADD', key, '1-0', 'a', 1)
call('XTRIM', key, 'MINID', 2)
call('UNLINK', key)
call('ZADD', key, 0, 'a')
call('ZREM', key, 'a')
call('RPUSH', key, 'a')
call('LPOP', key)
return 1
