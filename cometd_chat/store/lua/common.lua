-- What every script begins with. One script is one atomic step on one partition.
--
-- KEYS: 1 the partition's own hash  2 the session's hash, where it is about one
-- ARGV: 1 what all keys of the partition begin with  2 id of this operation, '' for
--       one that only reads  3 session  4 ... what the script itself takes
--
-- Names of other keys are made here from ARGV[1], whose hash tag puts them all in the
-- slot of KEYS[1]. While a cluster moves this slot, scripts fail: the first thing that
-- `once` does is to look for a key that is not there, which ends a script before it
-- has changed anything. Times and scores stay text from end to end: a Lua number that is made
-- text loses digits. '' stands for what is not known (None).

local call = redis.call
local base, operation, sid = ARGV[1], ARGV[2], ARGV[3]
local session = base .. 's:' .. sid
local partition = KEYS[1]

local STEP = 1000             -- positions left out when the newest may have been lost
local SEQUENCE_STEP = 1000000 -- the same for the numbers of changes
local LOG = 4096              -- sessions whose latest change is remembered
local ANSWERS = 2048          -- operations, at least, whose outcome is remembered

local function of(kind) return base .. kind .. ':' .. sid end

local function whole(number) return string.format('%.0f', number) end

local function later(a, b)
  if not a or a == '' then return b end
  if not b or b == '' then return a end
  return tonumber(a) >= tonumber(b) and a or b
end

local function put(index, score, member)
  if score then call('ZADD', index, score, member) else call('ZREM', index, member) end
end

local function is_open(state) return state == 'waiting' or state == 'active' end

-- Tell whether the customer's absence means anything: there may be a push then.
local function awaited(state, acked, notable)
  return is_open(state) or (state == 'ended' and tonumber(acked) < tonumber(notable))
end

-- Return the epoch of the partition, which changes with the primary: a replica that
-- was promoted, or a server that was started again, may lack what was written last.
local current
local function epoch()
  if current then return current end
  local primary = string.match(call('INFO', 'replication'), 'master_replid:(%w+)')
  local known = call('HMGET', partition, 'primary', 'epoch')
  current = known[2]
  if known[1] ~= primary then
    call('HSET', partition, 'primary', primary)
    if known[1] then call('HINCRBY', partition, 'sequence', SEQUENCE_STEP) end
    current = whole(call('HINCRBY', partition, 'epoch', 1))
  end
  return current
end

-- Tell all nodes of a change of the session; return its number in the partition.
local function tell(news)
  epoch()
  local number = whole(call('HINCRBY', partition, 'sequence', 1))
  call('ZADD', base .. 'log', number, sid)
  if call('ZCARD', base .. 'log') > LOG then call('ZREMRANGEBYRANK', base .. 'log', 0, 0) end
  call('PUBLISH', base .. 'news', '[' .. number .. ',' .. cjson.encode(sid) .. ',' .. news .. ']')
  return number
end

local ALTERED = 'true,0,[]'

-- Put the session into the lists of its state.
local function enlist()
  local f = call('HMGET', session, 'state', 'service', 'started_at', 'created_at', 'ended_at')
  for _, state in ipairs({'new', 'waiting', 'active', 'ended'}) do
    local start = state == f[1] and f[3]
    put(base .. 'in:' .. state, start, sid)
    put(base .. 'in:' .. state .. ':' .. f[2], start, sid)
  end
  put(base .. 'new', f[1] == 'new' and f[4], sid)
  put(base .. 'over', f[1] == 'ended' and f[5], sid)
end

-- Put the session where those look who wait for a time: the end of presence, a push
-- that is due at once (`now:`) or after the delay (`after:`), a badge that went down.
local function rank()
  local f = call('HMGET', session, 'service', 'state', 'absent_since', 'until', 'unheard',
    'reachable', 'pushes', 'lease', 'badged', 'acked', 'notable', 'badge_lease')
  local here = f[3] == '' and f[4] ~= '' and awaited(f[2], f[10], f[11])
  put(base .. 'present', here and f[4], sid)
  local unheard = f[5] ~= '' and f[6] == '1'
  local told = tonumber(f[7]) > 0 or tonumber(f[8]) > 0
  put(base .. 'now:' .. f[1], unheard and told and later(f[5], f[8]), sid)
  put(base .. 'after:' .. f[1], unheard and not told and f[5], sid)
  if unheard then
    call('SADD', base .. 'services', f[1])
  elseif call('EXISTS', base .. 'now:' .. f[1], base .. 'after:' .. f[1]) == 0 then
    call('SREM', base .. 'services', f[1])
  end
  put(base .. 'badged', f[9] == '1' and tonumber(f[10]) >= tonumber(f[11]) and f[12], sid)
end

local TIMES = {'absent_since', 'until', 'unheard'} -- or ''
local NUMBERS = {'last', 'acked', 'announced', 'notable', 'pushes', 'lease', 'badge_lease'}

-- Tell whether something is missing, or is no number, without which the session cannot
-- be put anywhere: a script would fail in the middle, for this session and all after it.
local function damaged()
  local service, state = unpack(call('HMGET', session, 'service', 'state'))
  if not service or not (is_open(state) or state == 'new' or state == 'ended') then return true end
  for _, value in ipairs(call('HMGET', session, unpack(TIMES))) do
    if value ~= '' and not tonumber(value) then return true end
  end
  for _, value in ipairs(call('HMGET', session, unpack(NUMBERS))) do
    if not tonumber(value) then return true end
  end
  return false
end

-- Take such a session, or the name of none, from where it is found first for ever.
local function set_aside(...)
  for _, index in ipairs({...}) do call('ZREM', base .. index, sid) end
  return {call('EXISTS', session) == 1 and 'damaged' or 'none'}
end

-- Bring `unheard` up to date: while the customer is absent, the time of the first
-- notable entry that he neither acknowledged nor was told of, but not before his
-- absence began; otherwise ''.
local function hear()
  local f = call('HMGET', session, 'absent_since', 'acked', 'announced')
  local unheard = ''
  if f[1] ~= '' then
    local heard = whole(math.max(tonumber(f[2]), tonumber(f[3])))
    local first = call('ZRANGEBYSCORE', of('n'), '(' .. heard, '+inf', 'LIMIT', 0, 1)
    if first[1] then unheard = later(string.match(first[1], ':(.*)$'), f[1]) end
  end
  call('HSET', session, 'unheard', unheard)
end

-- Jobs: `j` has the facts of each as a JSON array, `b` what Python alone reads. In the
-- queues each begins with its age, so that of those ready at one time the oldest is first.
local PROVIDER, TYPE, DEVICE, SILENT, READY, EXPIRY, ATTEMPTS, LEASE, AGE = 1, 2, 3, 4, 5, 6, 7, 8, 9

-- Return the facts of a job, nil for what is none or is damaged.
local function to_job(text)
  local read, job = pcall(cjson.decode, text)
  return read and type(job) == 'table' and #job == AGE and job or nil
end

local function queued(id, job) return job[AGE] .. '\0' .. id .. '\0' .. sid end

local function leave_queue(provider, member)
  local queue = base .. 'jobs:' .. provider
  call('ZREM', queue, member)
  call('ZREM', base .. 'expiry', member)
  if call('EXISTS', queue) == 0 then call('SREM', base .. 'providers', provider) end
end

local function forget_job(id)
  call('HDEL', of('j'), id)
  call('HDEL', of('b'), id)
end

local function drop_job(id, job)
  forget_job(id)
  leave_queue(job[PROVIDER], queued(id, job))
end

local function keep_job(id, job)
  call('HSET', of('j'), id, cjson.encode(job))
  call('ZADD', base .. 'jobs:' .. job[PROVIDER], later(job[READY], job[LEASE]), queued(id, job))
end

-- Delete the jobs that the function wants to be gone; return how many.
local function drop_jobs(unwanted)
  local gone = 0
  local all = call('HGETALL', of('j'))
  for i = 1, #all, 2 do
    local job = to_job(all[i + 1]) -- what is damaged is for the next claim, which tells
    if job and unwanted(job) then
      drop_job(all[i], job)
      gone = gone + 1
    end
  end
  return gone
end

local function queue_jobs(from)
  drop_jobs(function(job) return job[SILENT] == '1' end)
  local t = call('TIME')
  local second = whole(t[1]) .. string.format('%06d', t[2])
  for i = from, #ARGV, 8 do
    local id = ARGV[i]
    if call('HEXISTS', of('j'), id) == 0 then
      local job = {ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6],
        '0', '0', second .. string.format('%06d', i)}
      call('HSET', of('b'), id, ARGV[i + 7])
      call('ZADD', base .. 'expiry', job[EXPIRY], queued(id, job))
      call('SADD', base .. 'providers', job[PROVIDER])
      keep_job(id, job)
    end
  end
end

-- The devices of the session have changed to these, {type, id, muted} each: loans for
-- those of before end, and so do jobs for what is gone or must not ring.
local function equip(devices)
  local rings = {}
  for _, device in ipairs(devices) do rings[device[1] .. '\0' .. device[2]] = device[3] == '0' end
  call('HSET', session, 'lease', '0', 'badge_lease', '0')
  drop_jobs(function(job)
    local ring = rings[job[TYPE] .. '\0' .. job[DEVICE]]
    return ring == nil or (not ring and job[SILENT] ~= '1')
  end)
end

-- Return the whole session, as the only fact.
local function everything() return {call('HGETALL', session)} end

-- What a change that was decided in Python does: fields, and devices if they changed.
local function apply(change)
  call('HSET', session, unpack(change.fields))
  call('HINCRBY', session, 'version', 1)
  if type(change.devices) == 'table' then equip(change.devices) end
end

-- Do the operation, or repeat the answer of the first time, when that was lost. Each
-- script that changes something is in it.
--
-- Answers are forgotten when many others have come, not after a time: for a new primary
-- whose clock is ahead, that would be over before it is asked for them.
--
-- `besides` returns what is answered, too, but not remembered: it may be long, and must not
-- outlive its session.
--
-- It always writes. From Redis 7.2 on, WAIT and WAITAOF wait for what their own connection
-- wrote; but what is answered may be what another connection wrote, which no replica and
-- no disk may have yet.
local function once(main, besides)
  call('EXISTS', base .. 'op:' .. operation) -- it does not: see above
  local newer, older = base .. 'answers', base .. 'answers:older'
  local answer = call('HGET', newer, operation) or call('HGET', older, operation)
  local reply = answer and cjson.decode(answer) or main()
  if reply[1] == 'ok' then
    call('HSET', newer, operation, answer or cjson.encode(reply))
    if call('HLEN', newer) >= ANSWERS then call('RENAME', newer, older) end
  else
    call('HSET', partition, 'answered', operation)
    return reply
  end
  for _, fact in ipairs(besides and besides() or {}) do reply[#reply + 1] = fact end
  return reply
end
