-- Add entries, make a transition, arm the push and tell everybody, in one step.
-- ARGV: 4 transition, '' for none: JSON {version, fields, devices}; version '?' asks
--       for the session  5 most entries, '' for no limit  6 the newest position that is
--       expected, '' for any  7 key of `once`, '' or 'k' + key  8 its window  9 time of the
--       newest draft, '' for none  10 11 unread = unread * 10 + 11  12 newest message, ''
--       or 't' + text  13 14 15 time, JSON and mark of each entry
local FIRST = 13

local function remembered(now)
  local seen = ARGV[7] ~= '' and call('HGET', of('o'), ARGV[7])
  if not seen then return nil end
  local first, last, at = string.match(seen, '^(%S+) (%S+) (%S+)$')
  if ARGV[8] ~= '' and tonumber(now) - tonumber(at) >= tonumber(ARGV[8]) then return nil end
  if tonumber(last) < tonumber(first) then return {} end
  return call('XRANGE', of('e'), first, last)
end

local function add(position, at, i)
  call('XADD', of('e'), position .. '-0', 'a', at, 'b', ARGV[i + 1])
  if ARGV[i + 2] == '' then return false end
  call('ZADD', of('n'), position, position .. ':' .. at)
  if ARGV[i + 2] == 'u' then call('ZADD', of('q'), position, position) end
  return true
end

-- Write the entries; return their times and what is told of them.
local function grow(f, last)
  local at, times, told, notable, notable_at = f.last_at, {}, {}, nil, nil
  for i = FIRST, #ARGV, 3 do
    last = last + 1
    at = later(at, ARGV[i])
    if add(whole(last), at, i) then notable, notable_at = whole(last), notable_at or at end
    times[#times + 1] = at
    told[#told + 1] = '[' .. at .. ',' .. ARGV[i + 1] .. ']'
  end
  call('HSET', session, 'last', whole(last), 'last_at', at, 'unread',
    whole(f.unread * tonumber(ARGV[10]) + tonumber(ARGV[11])))
  if ARGV[12] ~= '' then call('HSET', session, 'last_text', string.sub(ARGV[12], 2)) end
  if notable then call('HSET', session, 'notable', notable) end
  if notable and f.absent_since ~= '' and f.unheard == '' then
    call('HSET', session, 'unheard', later(notable_at, f.absent_since))
  end
  return times, '[' .. table.concat(told, ',') .. ']', notable
end

local function known()
  local v = call('HMGET', session, 'last', 'last_at', 'unread', 'absent_since', 'unheard',
    'state', 'version', 'badged', 'epoch')
  return sound(v, 3, 2) and {last = v[1], last_at = v[2], unread = v[3], absent_since = v[4],
    unheard = v[5], state = v[6], version = v[7], badged = v[8], epoch = v[9]}
end

local function refusal(f, change, count)
  if change and change.version ~= f.version then return {'decide', call('HGETALL', session)} end
  if not change and not is_open(f.state) then return {'closed', f.state} end
  if ARGV[6] ~= '' and ARGV[6] ~= f.last then return {'conflict'} end
  if count > 0 and ARGV[5] ~= '' and call('XLEN', of('e')) + count > tonumber(ARGV[5]) then
    return {'full'}
  end
end

return once(function()
  local f = known()
  if not f then return unknown() end
  local now = ARGV[9] ~= '' and ARGV[9] or f.last_at
  local before = remembered(now)
  if before then return {'repeat', before} end
  local change = ARGV[4] ~= '' and cjson.decode(ARGV[4])
  local count = (#ARGV - FIRST + 1) / 3
  local refused = refusal(f, change, count)
  if refused then return refused end

  local last = tonumber(f.last)
  local current = count > 0 and epoch()
  if count > 0 and f.epoch ~= current then
    last = last + STEP
    call('HSET', session, 'epoch', current)
  end
  local first = whole(last + 1)
  if ARGV[7] ~= '' then
    call('HSET', of('o'), ARGV[7], first .. ' ' .. whole(last + count) .. ' ' .. now)
  end
  if change then apply(change) elseif count > 0 then call('HINCRBY', session, 'version', 1) end
  local times, told, notable = {}, '[]', nil
  if count > 0 then times, told, notable = grow(f, last) end
  if change and change.state ~= f.state then enlist() end
  if change or (notable and (f.absent_since ~= '' or f.badged == '1')) then rank() end
  local number = '0'
  if change or count > 0 then
    number = tell(tostring(change and true or false) .. ',' .. first .. ',' .. told)
  end
  return {'ok', number, first, times}
end)
