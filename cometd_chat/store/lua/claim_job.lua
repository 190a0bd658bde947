-- ARGV: 4 job  5 now  6 end of the lease  7 provider  8 its name in the queue
return once(function()
  local text = call('HGET', of('j'), ARGV[4])
  if not text then -- else it would be found first for ever
    leave_queue(ARGV[7], ARGV[8])
    return {'no'}
  end
  local job, now = to_job(text), tonumber(ARGV[5])
  if not job then
    forget_job(ARGV[4])
    leave_queue(ARGV[7], ARGV[8])
    return {'unreadable'}
  end
  if tonumber(job[EXPIRY]) <= now or tonumber(later(job[READY], job[LEASE])) > now then return {'no'} end
  job[LEASE] = ARGV[6]
  keep_job(ARGV[4], job)
  return {'ok', job[READY], job[ATTEMPTS]}
end, function() return {call('HGET', of('b'), ARGV[4])} end)
