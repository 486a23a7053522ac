%% What several rounds say together.
-module(bench_statistics).

-export([quantile/2, median/1, geometric_mean/1, summary/1]).

-export_type([spread/0, figures/0, row_summary/0]).

-type spread() :: {LowerQuartile :: float(), Median :: float(), UpperQuartile :: float()}.
%% Medians over the rounds of one backend.
-type figures() :: #{value := spread(), p50 => float(), p99 => float(), cpu => float(), syscalls => float(), calls => string(),
                     long => float(), longest => float()}.
%% `ratios` are how many times better rs is than each other backend, round by round; `best` is the better one of inet and
%% socket. The ratios of p99 and cpu are rs's share of the best: below 1 is better.
-type row_summary() :: #{row := string(), unit := string(), better := more | less, backends := #{atom() => figures()},
                         ratios := #{atom() => spread()}, best => atom(), best_p99 => spread(), best_cpu => spread()}.

%% Between the two nearest where it falls between two.
-spec quantile([number(), ...], float()) -> float().
quantile(Values, Fraction) ->
    Sorted = lists:sort(Values),
    Place = Fraction * (length(Sorted) - 1),
    Low = lists:nth(1 + trunc(Place), Sorted),
    High = lists:nth(1 + ceil(Place), Sorted),
    Low + (High - Low) * (Place - trunc(Place)).

-spec median([number(), ...]) -> float().
median(Values) ->
    quantile(Values, 0.5).

-spec geometric_mean([float(), ...]) -> float().
geometric_mean(Values) ->
    math:exp(lists:sum([math:log(Value) || Value <- Values]) / length(Values)).

%% The rows in the order in which they were measured.
-spec summary([bench_csv:measurement()]) -> [row_summary()].
summary(Measurements) ->
    Names = lists:foldl(fun(#{row := Name}, Seen) ->
                            case lists:member(Name, Seen) of true -> Seen; false -> [Name | Seen] end
                        end, [], Measurements),
    [row(Name, [Measurement || #{row := Row} = Measurement <- Measurements, Row =:= Name]) || Name <- lists:reverse(Names)].

row(Name, [#{unit := Unit, better := Better} | _] = All) ->
    Backends = maps:from_list([{Backend, figures(Of)}
                               || Backend <- lists:usort([Backend || #{backend := Backend} <- All]),
                                  Of <- [[Measurement || #{backend := B} = Measurement <- All, B =:= Backend]],
                                  lists:any(fun(Measurement) -> is_map_key(value, Measurement) end, Of)]),
    Ratios = maps:from_list([{Backend, spread(Values)}
                             || Backend <- maps:keys(Backends), Backend =/= rs,
                                Values <- [times_better(Better, value, Backend, All)], Values =/= []]),
    maps:merge(#{row => Name, unit => Unit, better => Better, backends => Backends, ratios => Ratios},
               best(Backends, Better, All)).

figures(Measurements) ->
    Medians = [{Key, median(Values)} || Key <- [p50, p99, cpu, syscalls],
                                        Values <- [[Value || #{Key := Value} <- Measurements]], Values =/= []],
    Sums = [{long, lists:sum([Long || #{long := Long} <- Measurements])},
            {longest, lists:max([0.0 | [Longest || #{longest := Longest} <- Measurements]])}],
    Calls = [{calls, Calls} || #{calls := Calls} <- Measurements],
    maps:from_list([{value, spread([Value || #{value := Value} <- Measurements])} | Medians ++ Sums ++ Calls]).

spread(Values) ->
    {quantile(Values, 0.25), median(Values), quantile(Values, 0.75)}.

%% Of the rounds that both have.
times_better(Better, Key, Backend, All) ->
    Rounds = lists:usort([Round || #{round := Round} <- All]),
    [case Better of more -> Ours / max(Theirs, 1.0e-9); less -> Theirs / max(Ours, 1.0e-9) end
     || Round <- Rounds,
        #{backend := rs, round := R1, Key := Ours} <- All, R1 =:= Round,
        #{backend := B, round := R2, Key := Theirs} <- All, B =:= Backend, R2 =:= Round].

%% The better one of inet and socket by its median.
best(Backends, Better, All) ->
    Rated = [{case Better of more -> Median; less -> -Median end, Backend}
             || Backend <- [inet, socket], #{Backend := #{value := {_, Median, _}}} <- [Backends]],
    case {Rated, Backends} of
        {[_ | _], #{rs := _}} ->
            {_, Best} = lists:max(Rated),
            maps:from_list([{best, Best}
                            | [{Name, spread(Values)} || {Name, Key} <- [{best_p99, p99}, {best_cpu, cpu}],
                                                         Values <- [lowest_share(Key, All)], Values =/= []]]);
        _ ->
            #{}
    end.

%% Our share of the one that has the lower median.
lowest_share(Key, All) ->
    Medians = [{median(Values), Backend} || Backend <- [inet, socket],
                                            Values <- [[Value || #{backend := B, Key := Value} <- All, B =:= Backend]],
                                            Values =/= []],
    case Medians of
        [] -> [];
        _ -> {_, Lowest} = lists:min(Medians), times_better(more, Key, Lowest, All)
    end.
