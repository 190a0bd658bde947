-- ARGV: 4 job  5 its lease  6 when it was sent, '' for never  7 position  8 type of the
--       device  9 provider  10 '1' when it was silent
return once(function()
  local f = ARGV[6] ~= '' and facts()
  if f then
    local sent = {ARGV[8], ARGV[9], ARGV[7], ARGV[6], '', ''}
    call('HSETNX', of('sent'), ARGV[4], cjson.encode(sent))
    if ARGV[10] ~= '1' then
      call('HSET', session, 'badged', '1')
      -- The customer may have come and gone while it was sent.
      local told = math.min(tonumber(ARGV[7]), tonumber(f.last))
      if tonumber(f.announced) < told then
        call('HSET', session, 'announced', whole(told))
        hear()
      end
    end
    rank()
  end
  local job = to_job(call('HGET', of('j'), ARGV[4]))
  local held = job and tonumber(job[LEASE]) == tonumber(ARGV[5])
  -- Whoever else has it, or queued it anew: it was sent.
  if held or (job and ARGV[6] ~= '') then drop_job(ARGV[4], job) end
  return {held and 'ok' or 'no'}
end)
