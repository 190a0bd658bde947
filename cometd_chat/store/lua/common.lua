-- What every script begins with. One script is one atomic step on one partition.
--
-- KEYS: 1 the partition's own hash  2 one that never exists, for a script that writes:
--       while a cluster moves the slot, it is refused before it begins
-- ARGV: 1 what all keys of the partition begin with  2 id of this operation, '' for
--       one that only reads  3 session  4 ... what the script itself takes
--
-- Names of other keys are made here from ARGV[1], whose hash tag puts them all in the
-- slot of KEYS[1]. Times and scores stay text from end to end: a Lua number that is made
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

-- Tell whether the first values are numbers, and the next ones numbers or ''.
local function sound(values, numbers, times)
  for i = 1, numbers + times do
    if not tonumber(values[i]) and (values[i] ~= '' or i <= numbers) then return false end
  end
  return true
end

-- Return the facts that most changes are decided by; nil if there is no session, or if it
-- is damaged: a script would fail in the middle, for this session and all after it.
local function facts()
  local v = call('HMGET', session, 'last', 'acked', 'announced', 'notable', 'pushes', 'lease',
    'badge_lease', 'absent_since', 'until', 'unheard', 'service', 'state', 'reachable', 'badged')
  local service, state = v[11], v[12]
  local known = is_open(state) or state == 'new' or state == 'ended'
  if not (sound(v, 7, 3) and service and known) then return nil end
  return {last = v[1], acked = v[2], announced = v[3], notable = v[4], pushes = v[5],
    lease = v[6], badge_lease = v[7], absent_since = v[8], till = v[9], unheard = v[10],
    service = service, state = state, reachable = v[13], badged = v[14]}
end

-- Put the session where those look who wait for a time, or take it away where there is
-- none: the end of presence, a push that is due at once (`now:`) or after the delay
-- (`after:`), a badge that went down.
local function await(service, presence, now, after, badge)
  put(base .. 'present', presence, sid)
  put(base .. 'now:' .. service, now, sid)
  put(base .. 'after:' .. service, after, sid)
  put(base .. 'badged', badge, sid)
  if now or after then
    call('SADD', base .. 'services', service)
  elseif call('EXISTS', base .. 'now:' .. service, base .. 'after:' .. service) == 0 then
    call('SREM', base .. 'services', service)
  end
end

-- The same by the facts; a damaged session stays where it is, until it is found there.
local function rank()
  local f = facts()
  if not f then return end
  local here = f.absent_since == '' and f.till ~= '' and awaited(f.state, f.acked, f.notable)
  local unheard = f.unheard ~= '' and f.reachable == '1'
  local told = tonumber(f.pushes) > 0 or tonumber(f.lease) > 0
  local lower = f.badged == '1' and tonumber(f.acked) >= tonumber(f.notable)
  await(f.service, here and f.till, unheard and told and later(f.unheard, f.lease),
    unheard and not told and f.unheard, lower and f.badge_lease)
end

-- Tell why there are no facts.
local function unknown() return {call('EXISTS', session) == 1 and 'damaged' or 'none'} end

-- Take such a session, or the name of none, from where it is found first for ever.
local function set_aside(...)
  for _, index in ipairs({...}) do call('ZREM', base .. index, sid) end
  return unknown()
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

-- Return the so many values of a JSON array, nil for what is none.
local function to_list(text, length)
  local read, list = pcall(cjson.decode, text)
  return read and type(list) == 'table' and #list == length and list or nil
end

-- Return the facts of a job, nil for what is none or is damaged.
local function to_job(text)
  local job = to_list(text, AGE)
  for i = READY, job and LEASE or 0 do
    if not tonumber(job[i]) then return nil end
  end
  return job
end

-- The same for a push that was sent: type, provider, position, and when what became of it.
local function to_sent(text)
  local sent = to_list(text, 6)
  return sent and tonumber(sent[3]) and sent or nil
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
  local newer, older = base .. 'answers', base .. 'answers:older'
  local answer = call('HGET', newer, operation) or call('HGET', older, operation)
  local reply = answer and cjson.decode(answer) or main()
  if reply[1] == 'ok' then
    call('HSET', newer, operation, answer or cjson.encode(reply))
    -- Now and then is enough; ids are random.
    if string.byte(operation, -1) % 16 == 0 and call('HLEN', newer) >= ANSWERS then
      call('RENAME', newer, older)
    end
  else
    call('HSET', partition, 'answered', operation)
    return reply
  end
  for _, fact in ipairs(besides and besides() or {}) do reply[#reply + 1] = fact end
  return reply
end

-- The same for what changes a session, by its facts.
local function once_known(main)
  return once(function()
    local f = facts()
    if not f then return unknown() end
    return main(f)
  end)
end
