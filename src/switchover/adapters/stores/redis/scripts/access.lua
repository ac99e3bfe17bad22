#!lua flags=no-cluster
--[[
Changes to tokens, sessions and the audit log, each with the entries that tell of it, or without effect.

ARGV: prefix, verb, how many entries, the entries, then the verb's own arguments. Answers how many things changed. A
token's row is <version> <digest> <previous digest or -> <document>; a session's <digest> <end> <document>.
]]
local prefix, verb = ARGV[1], ARGV[2]
local entries = tonumber(ARGV[3])
local call = redis.call
local tokens, digests, used = prefix .. ':tokens', prefix .. ':token_digests', prefix .. ':token_used'
local sessions, session_digests = prefix .. ':sessions', prefix .. ':session_digests'
local audit, meta = prefix .. ':audit', prefix .. ':meta'

for key, wanted in pairs({
  [tokens] = 'hash', [digests] = 'hash', [used] = 'hash', [sessions] = 'hash', [session_digests] = 'hash',
  [audit] = 'stream', [meta] = 'hash',
}) do
  local found = call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found) end
end

local at = 3 + entries
local function take()
  at = at + 1
  return ARGV[at]
end

local function tell()
  for number = 4, 3 + entries do
    call('XADD', audit, call('HINCRBY', meta, 'audit', 1) .. '-0', 'e', ARGV[number])
  end
end

local function put_token(name, row)
  local digest, previous = string.match(row, '^%d+ (%S+) (%S+) ')
  call('HSET', tokens, name, row)
  call('HSET', digests, digest, name)
  if previous ~= '-' then call('HSET', digests, previous, name) end
end

local function forget_digests(row)
  local digest, previous = string.match(row, '^%d+ (%S+) (%S+) ')
  call('HDEL', digests, digest, previous)
end

local function end_session(id)
  local row = call('HGET', sessions, id)
  if not row then return 0 end
  call('HDEL', sessions, id)
  call('HDEL', session_digests, string.match(row, '^(%S+) '))
  return 1
end

local verbs = {
  put_token = function()
    local name, row, first = take(), take(), take()
    if call('HEXISTS', tokens, name) == 1 or (first == '1' and call('HLEN', tokens) > 0) then return 0 end
    put_token(name, row)
    tell()
    return 1
  end,
  replace_token = function()
    local name, version, row = take(), take(), take()
    local kept = call('HGET', tokens, name)
    if not kept or string.match(kept, '^%d+') ~= version then return 0 end
    forget_digests(kept)
    put_token(name, row)
    tell()
    return 1
  end,
  use_token = function()
    local name, moment = take(), take()
    local kept = call('HGET', used, name)
    if call('HEXISTS', tokens, name) == 0 or (kept and tonumber(kept) >= tonumber(moment)) then return 0 end
    call('HSET', used, name, moment)
    return 1
  end,
  put_session = function()
    local id, row = take(), take()
    call('HSET', sessions, id, row)
    call('HSET', session_digests, string.match(row, '^(%S+) '), id)
    tell()
    return 1
  end,
  end_sessions = function()
    local ended = 0
    while at < #ARGV do ended = ended + end_session(take()) end
    if ended > 0 then tell() end
    return ended
  end,
  prune_sessions = function()
    local before, ended = tonumber(take()), 0
    local kept = call('HGETALL', sessions)
    for number = 1, #kept, 2 do
      if tonumber(string.match(kept[number + 1], '^%S+ (%d+) ')) < before then ended = ended + end_session(kept[number]) end
    end
    return ended
  end,
  append = function()
    tell()
    return entries
  end,
}
return verbs[verb]()
