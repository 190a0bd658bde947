-- ARGV: 4 now  5 delay  6 end of the lease  7 service
return once(function()
  local f = facts()
  if not f then return set_aside('now:' .. ARGV[7], 'after:' .. ARGV[7]) end
  local now, delay = tonumber(ARGV[4]), tonumber(ARGV[5])
  if f.unheard == '' or f.reachable ~= '1' or tonumber(f.lease) > now then return {'no'} end
  if tonumber(f.pushes) == 0 and tonumber(f.unheard) + delay > now then
    -- A loan that has ended counts no longer, but the delay does.
    call('ZREM', base .. 'now:' .. f.service, sid)
    call('ZADD', base .. 'after:' .. f.service, f.unheard, sid)
    return {'no'}
  end
  call('HSET', session, 'lease', ARGV[6])
  rank()
  return {'ok'}
end, everything)
