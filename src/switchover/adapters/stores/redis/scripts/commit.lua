#!lua flags=no-cluster
--[[
One step of a commit: all of it or nothing.

Redis runs a script without letting anybody in between, but takes nothing back when one fails halfway. So everything is
checked first, the types of the keys included, and only then written; what is written below cannot fail. (Too little
memory is no exception: Redis looks before a script begins and refuses it as a whole, never in the middle of it.)

ARGV: prefix, epoch, holder, number of the last commit, 1 for a commit or 0 for a part of one that is only laid ready,
then operations, each a letter and its arguments. Answers {"done", number}, or {what, operation, found...} when it was
refused and nothing has changed.
]]
local prefix, epoch, holder, number, final = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local FIRST = 6
local call = redis.call

local meta = prefix .. ':meta'
local driver = prefix .. ':driver'
local staged_plans = prefix .. ':staged'
local staged_tenants = prefix .. ':staged:tenants'

local index = 0 -- of the operation that is being checked

local function refuse(what, ...)
  error({refused = {what, index, ...}})
end

local known_types = {}
local function typed(key, wanted)
  local found = known_types[key]
  if not found then
    found = call('TYPE', key).ok
    known_types[key] = found
  end
  if found ~= 'none' and found ~= wanted then refuse('type', key, found) end
  return key
end

local function plan_key(plan) return prefix .. ':plan:' .. plan end
local function part(plan, name) return prefix .. ':plan:' .. plan .. ':' .. name end

-- What the checks have found out, and the operations before have made true.
local published, begun = {}, {}
local heads, positions, fresh = {}, {}, {}
local images, answered, used_keys = {}, {}, {}

local function is_published(plan)
  if published[plan] == nil then published[plan] = call('EXISTS', typed(plan_key(plan), 'hash')) == 1 end
  return published[plan]
end

local function is_staged(plan)
  return begun[plan] or call('SISMEMBER', typed(staged_plans, 'set'), plan) == 1
end

local function need_plan(plan)
  if not final then
    if not is_staged(plan) then refuse('missing plan', plan) end
  elseif not is_published(plan) then
    refuse('missing plan', plan)
  end
end

local function need_task(plan, ordinal)
  if not is_published(plan) or call('HEXISTS', typed(part(plan, 'tasks'), 'hash'), ordinal) == 0 then
    refuse('missing task', plan, ordinal)
  end
end

-- The number and the position of the newest event of a task, or of the plan itself (ordinal 0).
local function head_of(plan, ordinal)
  local place = plan .. '-' .. ordinal
  local head = heads[place]
  if not head then
    local kept = call('HGET', typed(part(plan, 'heads'), 'hash'), ordinal)
    local sequence, position = string.match(kept or '0 0', '^(%d+) (%d+)$')
    head = {tonumber(sequence), position}
    heads[place] = head
  end
  return head
end

local function last_position(plan)
  if not positions[plan] then
    positions[plan] = tonumber(call('HGET', typed(part(plan, 'heads'), 'hash'), 'position') or '0')
  end
  return positions[plan]
end

-- A list of what was kept: <length>:<key><+ or -><length>:<value>, one after the other.
local function keeps(records, key)
  local from = 1
  while from <= #records do
    local name_length, name_from = string.match(records, '^(%d+):()', from)
    local name_end = name_from + tonumber(name_length)
    local value_length, value_from = string.match(records, '^[+-](%d+):()', name_end)
    if string.sub(records, name_from, name_end - 1) == key then return true end
    from = value_from + tonumber(value_length)
  end
  return false
end

local function follows(row, version)
  return string.sub(row, 1, #version + 1) == version .. ' '
end

local function change_tenant(tenant, row)
  call('HSET', prefix .. ':tenants', tenant, row)
end

local function note_arrival(tenant, arrival, member)
  call('ZADD', prefix .. ':arrived:' .. tenant, arrival, member)
end

local PARTS = {
  tasks = 'hash', configs = 'hash', previous = 'hash', status = 'string', heads = 'hash', events = 'stream',
  images = 'hash', runs = 'stream',
}

-- Plans without live tasks, by their end; an end of '' is none.
local function note_end(plan, live, ended)
  local before = call('HGET', plan_key(plan), 'ended')
  local now = live ~= '1' and ended ~= '' and ended or false
  if before == now then return end
  if before then call('ZREM', prefix .. ':ended', before) end
  if now then
    call('ZADD', prefix .. ':ended', 0, now)
    call('HSET', plan_key(plan), 'ended', now)
  else
    call('HDEL', plan_key(plan), 'ended')
  end
end

-- Each: how many arguments, what is checked, what is written.
local operations = {
  -- begin a plan: whatever a dead process had laid ready under this id goes
  B = {1,
    function(plan)
      if is_published(plan) then refuse('plan exists', plan) end
      typed(staged_plans, 'set')
      for name, kind in pairs(PARTS) do typed(part(plan, name), kind) end
      begun[plan] = true
    end,
    function(plan)
      for name in pairs(PARTS) do call('UNLINK', part(plan, name)) end
      call('SADD', staged_plans, plan)
    end},
  -- a new task: plan, ordinal, row, config, mark
  N = {5,
    function(plan, ordinal)
      need_plan(plan)
      local place = plan .. '-' .. ordinal
      local before = not begun[plan] and call('HEXISTS', typed(part(plan, 'tasks'), 'hash'), ordinal) == 1
      if fresh[place] or before then refuse('task exists', plan, ordinal) end
      fresh[place] = true
      typed(part(plan, 'configs'), 'hash')
      typed(part(plan, 'status'), 'string')
    end,
    function(plan, ordinal, row, config, mark)
      call('HSET', part(plan, 'tasks'), ordinal, row)
      call('HSET', part(plan, 'configs'), ordinal, config)
      call('SETRANGE', part(plan, 'status'), ordinal, mark)
    end},
  -- an event: plan, ordinal (0: of the plan itself), sequence id, position, row
  E = {5,
    function(plan, ordinal, sequence, position)
      need_plan(plan)
      if ordinal ~= '0' and not fresh[plan .. '-' .. ordinal] then
        local there = call('HEXISTS', typed(part(plan, 'tasks'), 'hash'), ordinal) == 1
        if not there or begun[plan] then refuse('missing task', plan, ordinal) end
      end
      typed(part(plan, 'events'), 'stream')
      local head
      if begun[plan] then
        local place = plan .. '-' .. ordinal
        head = heads[place] or {0, '0'}
        heads[place] = head
        positions[plan] = positions[plan] or 0
      else
        head = head_of(plan, ordinal)
      end
      if tonumber(sequence) ~= head[1] + 1 then refuse('sequence', string.format('%.0f', head[1])) end
      local last = last_position(plan)
      if tonumber(position) <= last then refuse('position', string.format('%.0f', last)) end
      head[1] = head[1] + 1
      positions[plan] = tonumber(position)
    end,
    function(plan, ordinal, sequence, position, row)
      local kept = call('HGET', part(plan, 'heads'), ordinal)
      local before = kept and string.match(kept, ' (%d+)$') or '0'
      call('XADD', part(plan, 'events'), position .. '-0', 'e', row, 'p', before)
      call('HSET', part(plan, 'heads'), ordinal, sequence .. ' ' .. position, 'position', position)
    end},
  -- publish a plan that was laid ready: plan, sort key, row, definition, 1 while it has live tasks, end
  P = {6,
    function(plan)
      if is_published(plan) then refuse('plan exists', plan) end
      if not is_staged(plan) then refuse('not staged', plan) end
      typed(prefix .. ':plans', 'zset')
      typed(prefix .. ':live', 'set')
      typed(prefix .. ':ended', 'zset')
      published[plan] = true
    end,
    function(plan, sort_key, row, definition, live, ended)
      call('HSET', plan_key(plan), 'row', row, 'definition', definition)
      call('ZADD', prefix .. ':plans', 0, sort_key)
      if live == '1' then call('SADD', prefix .. ':live', plan) end
      call('SREM', staged_plans, plan)
      note_end(plan, live, ended)
    end},
  -- a plan: plan, version before, row, 1 while it has live tasks, end
  W = {5,
    function(plan, version)
      if not is_published(plan) then refuse('missing plan', plan) end
      local row = call('HGET', plan_key(plan), 'row')
      if not row or not follows(row, version) then refuse('version', string.match(row or '', '^%d+') or '') end
      typed(prefix .. ':live', 'set')
      typed(prefix .. ':ended', 'zset')
    end,
    function(plan, _, row, live, ended)
      call('HSET', plan_key(plan), 'row', row)
      call(live == '1' and 'SADD' or 'SREM', prefix .. ':live', plan)
      note_end(plan, live, ended)
    end},
  -- a task: plan, ordinal, version before, row, mark
  T = {5,
    function(plan, ordinal, version)
      need_task(plan, ordinal)
      local row = call('HGET', part(plan, 'tasks'), ordinal)
      if not follows(row, version) then refuse('version', string.match(row, '^%d+') or '') end
      typed(part(plan, 'status'), 'string')
    end,
    function(plan, ordinal, _, row, mark)
      call('HSET', part(plan, 'tasks'), ordinal, row)
      call('SETRANGE', part(plan, 'status'), ordinal, mark)
    end},
  -- a task or plan that must be there
  K = {2, need_task, function() end},
  A = {1, need_plan, function() end},
  -- an idempotency key and what it was used for
  I = {2,
    function(key)
      if used_keys[key] or call('HEXISTS', typed(prefix .. ':idempotency', 'hash'), key) == 1 then
        refuse('key exists')
      end
      used_keys[key] = true
    end,
    function(key, value) call('HSET', prefix .. ':idempotency', key, value) end},
  -- a tenant and its row; a task that arrived: tenant, arrival, task
  H = {2, function() typed(prefix .. ':tenants', 'hash') end, change_tenant},
  Z = {3, function(tenant) typed(prefix .. ':arrived:' .. tenant, 'zset') end, note_arrival},
  -- many of both: lay them ready, then carry out as many parts as were laid ready; the lease lives so many milliseconds
  -- longer, because nobody can renew it while this goes on
  L = {1,
    function() typed(staged_tenants, 'list') end,
    function(blob) call('RPUSH', staged_tenants, blob) end},
  M = {2,
    function(parts)
      typed(prefix .. ':tenants', 'hash')
      local found = call('LLEN', typed(staged_tenants, 'list'))
      if found ~= tonumber(parts) then refuse('not staged', found) end
    end,
    function(parts, milliseconds)
      local time = call('TIME')
      local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
      call('HSET', driver, 'until', now + tonumber(milliseconds))
      for _ = 1, tonumber(parts) do
        local values = cjson.decode(call('LPOP', staged_tenants))
        local at = 1
        while at <= #values do
          if values[at] == 'H' then
            change_tenant(values[at + 1], values[at + 2])
            at = at + 3
          else
            note_arrival(values[at + 1], values[at + 2], values[at + 3])
            at = at + 4
          end
        end
      end
    end},
  -- keep a pre-image, unless one is kept: plan, ordinal, place, key, + or - (nothing was there), value
  G = {6,
    function(plan, ordinal, place, key, sign, value)
      need_task(plan, ordinal)
      local stored = part(plan, 'images') .. ' ' .. place
      local records = images[stored] or call('HGET', typed(part(plan, 'images'), 'hash'), place) or ''
      local sound, kept = pcall(keeps, records, key)
      if not sound then refuse('damaged', part(plan, 'images'), place) end
      images[stored] = records
      if not kept then images[stored] = records .. #key .. ':' .. key .. sign .. #value .. ':' .. value end
    end,
    function(plan, _, place) call('HSET', part(plan, 'images'), place, images[part(plan, 'images') .. ' ' .. place]) end},
  -- answer a request that is there and has no answer
  Q = {2,
    function(id)
      local kept = call('HMGET', typed(prefix .. ':requests', 'hash'), id, 'answer:' .. id)
      typed(prefix .. ':open', 'zset')
      if kept[1] and not kept[2] and answered[id] == nil then answered[id] = true end
    end,
    function(id, answer)
      if answered[id] then
        answered[id] = false
        call('HSET', prefix .. ':requests', 'answer:' .. id, answer)
        call('ZREM', prefix .. ':open', id)
      end
    end},
  -- an entry of the audit log
  U = {1,
    function() typed(prefix .. ':audit', 'stream') end,
    function(row) call('XADD', prefix .. ':audit', call('HINCRBY', meta, 'audit', 1) .. '-0', 'e', row) end},
  -- a run of events, in the order of the whole store and in that of its plan: plan, first position, how many
  O = {3,
    function(plan)
      typed(prefix .. ':log', 'stream')
      typed(part(plan, 'runs'), 'stream')
    end,
    function(plan, first, count)
      local last = call('HINCRBY', meta, 'numbers', count)
      local number = string.format('%.0f', last - tonumber(count) + 1)
      call('XADD', prefix .. ':log', number .. '-0', 'p', plan, 'f', first, 'n', count)
      call('XADD', part(plan, 'runs'), first .. '-0', 'n', number, 'c', count)
    end},
  -- forget events of a plan: plan, the last position that goes
  R = {2,
    function(plan)
      need_plan(plan)
      for name, wanted in pairs({events = 'stream', runs = 'stream', heads = 'hash'}) do
        typed(part(plan, name), wanted)
      end
      typed(prefix .. ':log', 'stream')
      typed(prefix .. ':ended', 'zset')
    end,
    function(plan, wanted)
      local newest = tonumber(call('HGET', part(plan, 'heads'), 'position') or '0')
      local through = math.min(tonumber(wanted), newest - 1)
      local oldest = call('XRANGE', part(plan, 'events'), '-', '+', 'COUNT', 1)[1]
      if not oldest or tonumber(string.match(oldest[1], '^%d+')) > through then return end
      local position = string.format('%.0f', through)
      local run = call('XREVRANGE', part(plan, 'runs'), position, '-', 'COUNT', 1)[1]
      local behind = through - tonumber(string.match(run[1], '^%d+'))
      local number = tonumber(run[2][2]) + math.min(behind, tonumber(run[2][4]) - 1)
      call('XTRIM', part(plan, 'events'), 'MINID', string.format('%.0f', through + 1))
      call('XTRIM', part(plan, 'runs'), 'MINID', run[1])
      call('HSET', part(plan, 'heads'), 'pruned', position)
      if through == newest - 1 then
        call('ZREM', prefix .. ':ended', call('HGET', plan_key(plan), 'ended') or '')
        call('HDEL', plan_key(plan), 'ended')
      end
      if number > tonumber(call('HGET', meta, 'pruned') or '0') then
        call('HSET', meta, 'pruned', string.format('%.0f', number))
        local kept = call('XREVRANGE', prefix .. ':log', string.format('%.0f', number + 1), '-', 'COUNT', 1)[1]
        if kept then call('XTRIM', prefix .. ':log', 'MINID', kept[1]) end
      end
    end},
  -- the last arrival, when it is later than the one that is known
  V = {1,
    function() end,
    function(arrival)
      if tonumber(arrival) > tonumber(call('HGET', meta, 'arrival') or '0') then call('HSET', meta, 'arrival', arrival) end
    end},
  -- a field of a hash: key, field, value; the same unless there is one; no such field
  S = {3, function(key) typed(prefix .. ':' .. key, 'hash') end,
    function(key, field, value) call('HSET', prefix .. ':' .. key, field, value) end},
  F = {3, function(key) typed(prefix .. ':' .. key, 'hash') end,
    function(key, field, value) call('HSETNX', prefix .. ':' .. key, field, value) end},
  D = {2, function(key) typed(prefix .. ':' .. key, 'hash') end,
    function(key, field) call('HDEL', prefix .. ':' .. key, field) end},
}

local function each(what)
  local at = FIRST
  index = 0
  while at <= #ARGV do
    local operation = operations[ARGV[at]]
    index = index + 1
    operation[what](unpack(ARGV, at + 1, at + operation[1]))
    at = at + operation[1] + 1
  end
end

local function check()
  local held = call('HMGET', typed(driver, 'hash'), 'epoch', 'holder', 'owner')
  if held[1] ~= epoch or held[2] ~= holder then refuse('lease', held[1] or '', held[2] or '', held[3] or '') end
  local last = call('HGET', typed(meta, 'hash'), 'commits') or '0'
  if last ~= number then refuse('number', last) end
  each(2)
end

local sound, fault = pcall(check)
if not sound then
  if type(fault) == 'table' and fault.refused then return fault.refused end
  return type(fault) == 'table' and fault or redis.error_reply('ERR ' .. tostring(fault))
end
each(3)
if not final then return {'done', number} end
call('HINCRBY', meta, 'changes', 1)
local commits = call('HINCRBY', meta, 'commits', 1)
redis.pcall('PUBLISH', prefix .. ':heard', 'commits') -- a hint: whoever may not publish does without
return {'done', tostring(commits)}
