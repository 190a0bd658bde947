return once(function()
  return {'ok', drop_jobs(function() return true end)}
end)
