-- ARGV: 4 job  5 its lease  6 not before
return once(function()
  local job = to_job(call('HGET', of('j'), ARGV[4]))
  if not job or tonumber(job[LEASE]) ~= tonumber(ARGV[5]) then return {'no'} end
  job[READY], job[LEASE] = ARGV[6], '0'
  job[ATTEMPTS] = whole(tonumber(job[ATTEMPTS]) + 1)
  keep_job(ARGV[4], job)
  return {'ok'}
end)
