#!lua flags=no-writes,no-cluster
-- ARGV: prefix, digest. Name, row and last use of the token that has this digest, or had it before the last rotation.
local prefix = ARGV[1]
local name = redis.call('HGET', prefix .. ':token_digests', ARGV[2])
if not name then return {} end
return {name, redis.call('HGET', prefix .. ':tokens', name), redis.call('HGET', prefix .. ':token_used', name)}
