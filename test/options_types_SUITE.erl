%% The types of the options are those of the native table and of the documentation.
-module(options_types_SUITE).

-export([all/0, init_per_suite/1, end_per_suite/1]).
-export([every_row_has_a_type/1, every_type_has_a_row/1, every_row_is_documented/1, every_row_is_walked/1, specs_use_the_types/1]).

all() ->
    [every_row_has_a_type, every_type_has_a_row, every_row_is_documented, every_row_is_walked, specs_use_the_types].

init_per_suite(Config) ->
    Rows = rows(),
    true = length(Rows) > 50,
    [{rows, Rows}, {types, types(gen_tcp_rs_opts)} | Config].

end_per_suite(_Config) ->
    ok.

%% An option that a call takes is in the type of that call's options.
every_row_has_a_type(Config) ->
    [] = [{Name, Call} || {Name, Calls} <- proplists:get_value(rows, Config), Call <- Calls, not lists:member(Name, names(type_of(Call), Config))],
    ok.

%% What a type names, the table has for that call, or it says how to open a socket.
every_type_has_a_row(Config) ->
    Rows = proplists:get_value(rows, Config),
    Opening = [inet, inet6, local, fd, ifaddr, ip, netns, port, protocol, inet_backend, tcp_module],
    Others = #{set => [list, binary, raw], get => [raw], connect => Opening ++ [list, binary, raw], listen => Opening ++ [backlog, list, binary, raw]},
    [] = [{Name, Call} || Call <- maps:keys(Others), Name <- names(type_of(Call), Config),
                          not lists:member(Call, proplists:get_value(Name, Rows, [])), not lists:member(Name, maps:get(Call, Others))],
    ok.

%% docs/options.md has a line of every row.
every_row_is_documented(Config) ->
    {ok, Text} = file:read_file(filename:join([peer_tool:project_root(), "docs", "options.md"])),
    {match, Cells} = re:run(Text, "^\\| ([a-z][^|]*) \\|", [global, multiline, {capture, all_but_first, list}]),
    Documented = [list_to_atom(string:trim(Name, both, "` ")) || [Cell] <- Cells, Name <- string:lexemes(Cell, ",;")],
    [] = [Name || {Name, _} <- proplists:get_value(rows, Config), not lists:member(Name, Documented)],
    ok.

%% Every row is tried by the walk over the options, or is beyond OTP's own.
every_row_is_walked(Config) ->
    Walked = [Name || {Name, _, _} <- options_walk_table:settable()] ++ [Name || {Name, _} <- options_walk_table:opening(inet)],
    Beyond = [busy_poll, congestion, defer_accept, fastopen, incoming_cpu, max_mailbox, max_queue, notsent_lowat, queue, quickack, tcp_info],
    [] = [Name || {Name, _} <- proplists:get_value(rows, Config), not lists:member(Name, Walked ++ Beyond)],
    ok.

%% The specs of the calls name these types, which dialyzer and the documentation of a caller can use.
specs_use_the_types(_Config) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(gen_tcp_rs), [abstract_code]),
    Used = fun(Function) ->
                   [Type || {attribute, _, spec, {Called, Clauses}} <- Forms, Called =:= Function, Clause <- Clauses, Type <- remote_types(Clause)]
           end,
    [{Function, true} = {Function, lists:member(Type, Used(Function))}
     || {Function, Type} <- [{{connect, 3}, connect_option}, {{connect, 4}, connect_option}, {{listen, 2}, listen_option},
                             {{fdopen, 2}, option}, {{setopts, 2}, option}, {{getopts, 2}, option_name}]],
    ok.

remote_types({remote_type, _, [{atom, _, gen_tcp_rs_opts}, {atom, _, Type} | _]}) -> [Type];
remote_types(Tuple) when is_tuple(Tuple) -> remote_types(tuple_to_list(Tuple));
remote_types(List) when is_list(List) -> lists:append([remote_types(Element) || Element <- List]);
remote_types(_Other) -> [].

%%% The native table

%% `{Name, Calls}` of the table's source text: its lines are one row each.
rows() ->
    File = filename:join([peer_tool:project_root(), "native", "net", "src", "option", "table.rs"]),
    {ok, Text} = file:read_file(File),
    {match, Rows} = re:run(Text, "^    (?:field|kernel|other)\\(\"(\\w+)\", Codec::\\w+, ([\\w:]+), ", [global, multiline, {capture, all_but_first, list}]),
    [{list_to_atom(Name), calls(Calls)} || [Name, Calls] <- Rows].

calls("ALL") -> [connect, listen, set, get];
calls("SET_GET") -> [set, get];
calls("CONNECT_SET") -> [connect, set];
calls("LISTEN_LATER") -> [listen, set, get];
calls("Calls::GET") -> [get].

%%% The types

type_of(connect) -> connect_option;
type_of(listen) -> listen_option;
type_of(set) -> option;
type_of(get) -> option_name.

types(Module) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    maps:from_list([{Name, Type} || {attribute, _, type, {Name, Type, []}} <- Forms]).

%% The atoms of a type and the tags of its tuples.
names(Name, Config) ->
    Types = proplists:get_value(types, Config),
    lists:usort(type_names(maps:get(Name, Types), Types)).

type_names({type, _, union, Members}, Types) -> lists:append([type_names(Member, Types) || Member <- Members]);
type_names({type, _, tuple, [{atom, _, Tag} | _]}, _Types) -> [Tag];
type_names({user_type, _, Name, []}, Types) -> type_names(maps:get(Name, Types), Types);
type_names({atom, _, Name}, _Types) -> [Name].
