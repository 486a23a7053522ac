-- wrk sends these three in one piece, again and again.
init = function(args)
   requests = table.concat({
      wrk.format("GET", "/one"),
      wrk.format("POST", "/two", nil, string.rep("w", 300)),
      wrk.format("GET", "/three?x=y"),
   })
end

request = function()
   return requests
end
