-- Take a loan back that was of no use.
-- ARGV: 4 job  5 its lease
return once(function()
  local job = to_job(call('HGET', of('j'), ARGV[4]))
  if not job or tonumber(job[LEASE]) ~= tonumber(ARGV[5]) then return {'no'} end
  job[LEASE] = '0'
  keep_job(ARGV[4], job)
  return {'ok'}
end)
