#!lua flags=no-writes,no-cluster
-- ARGV: prefix, digest. Id and row of the session whose cookie has this digest.
local prefix = ARGV[1]
local id = redis.call('HGET', prefix .. ':session_digests', ARGV[2])
if not id then return {} end
return {id, redis.call('HGET', prefix .. ':sessions', id)}
