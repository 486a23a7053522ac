%% Latencies of one measurement, counted in classes so that many processes can record at once in constant memory.
%% A class is 100 ns wide up to a millisecond, 10 us up to 100 ms, and 1 ms up to 10 s.
-module(bench_latency).

-export([new/0, record/2, percentiles/2]).

-export_type([latencies/0]).

-opaque latencies() :: counters:counters_ref().

-define(CLASSES, 10000).

-spec new() -> latencies().
new() ->
    counters:new(3 * ?CLASSES, [atomics]).

-spec record(latencies(), Nanoseconds :: non_neg_integer()) -> ok.
record(Latencies, Nanoseconds) when Nanoseconds < 1000000 ->
    counters:add(Latencies, 1 + Nanoseconds div 100, 1);
record(Latencies, Nanoseconds) when Nanoseconds < 100000000 ->
    counters:add(Latencies, 1 + ?CLASSES + Nanoseconds div 10000, 1);
record(Latencies, Nanoseconds) ->
    counters:add(Latencies, 1 + 2 * ?CLASSES + min(Nanoseconds div 1000000, ?CLASSES - 1), 1).

%% In microseconds, the middle of the class; 0.0 when nothing was recorded.
-spec percentiles(latencies(), [float()]) -> [float()].
percentiles(Latencies, Fractions) ->
    Filled = [{Class, Count} || Class <- lists:seq(1, 3 * ?CLASSES),
                                Count <- [counters:get(Latencies, Class)], Count > 0],
    Total = lists:sum([Count || {_, Count} <- Filled]),
    [percentile(Filled, ceil(Fraction * Total)) || Fraction <- Fractions].

percentile([], _Rank) -> 0.0;
percentile([{Class, Count} | _], Rank) when Rank =< Count -> middle(Class - 1);
percentile([{_, Count} | Filled], Rank) -> percentile(Filled, Rank - Count).

middle(Class) when Class < ?CLASSES -> (Class + 0.5) * 0.1;
middle(Class) when Class < 2 * ?CLASSES -> (Class - ?CLASSES + 0.5) * 10.0;
middle(Class) -> (Class - 2 * ?CLASSES + 0.5) * 1000.0.
