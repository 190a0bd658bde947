-- ARGV: 4 now  5 delay  6 end of the lease  7 service
return once(function()
  if damaged() then return set_aside('now:' .. ARGV[7], 'after:' .. ARGV[7]) end
  local f = call('HMGET', session, 'unheard', 'reachable', 'lease', 'pushes', 'service')
  local now, delay = tonumber(ARGV[4]), tonumber(ARGV[5])
  if f[1] == '' or f[2] ~= '1' or tonumber(f[3]) > now then return {'no'} end
  if tonumber(f[4]) == 0 and tonumber(f[1]) + delay > now then
    -- A loan that has ended counts no longer, but the delay does.
    call('ZREM', base .. 'now:' .. f[5], sid)
    call('ZADD', base .. 'after:' .. f[5], f[1], sid)
    return {'no'}
  end
  call('HSET', session, 'lease', ARGV[6])
  rank()
  return {'ok'}
end, everything)
