%% Lets OTP's gen_tcp and inet select this backend, by `{inet_backend, rs}` and as
%% the default of a node (`-kernel inet_backend rs`).
%%
%% gen_tcp asks the module inet which backend to take, and inet knows two names.
%% So an inet that knows a third is loaded in its place: the installed module with
%% the additions of gen_tcp_rs_overlay. It comes from a beam that the build has
%% prepared for exactly that inet or, failing that, is compiled on the spot. Where
%% neither works the selection is refused, with a sentence that says what to do.
%%
%% OTP's own persistent_term {kernel, inet_backend} never becomes rs: name
%% services, gen_udp and others ask it too and know no third value. The default
%% lives in {gen_tcp_rs, default}.
-module(gen_tcp_rs_backend).

-export([install/0, set_default/1, default/0, prepare/1]).
-export([start/0, stop/0]).
-export([serves_caller/0, serves_caller/1]).
-export_type([refusal/0]).

%% A term for programs, a sentence for people.
-type refusal() :: {Reason :: term(), Sentence :: string()}.

-define(DEFAULT, {gen_tcp_rs, default}).

%% OTP's own plumbing, which goes on as if rs were not there: peer drives its
%% listener through prim_inet; the others must outlive a stop of this application
%% and must not depend on what they are a part of.
-define(STEPS_ASIDE_FOR, [peer, erl_epmd, erl_boot_server, inet_res]).

%%% For users

%% @doc Makes `{inet_backend, rs}' known on this node. The start of the application
%% calls it; without the application one call suffices, and more do no harm.
-spec install() -> ok | {error, refusal()}.
install() ->
    {Pid, Monitor} = spawn_monitor(fun install_alone/0),
    receive
        {'DOWN', Monitor, process, Pid, {installed, Result}} -> told(Result);
        {'DOWN', Monitor, process, Pid, busy} -> wait_for_other(), install();
        {'DOWN', Monitor, process, Pid, Crash} -> refuse({load_failed, Crash})
    end.

%% A refusal is in the log, too: whoever called may not look.
-spec told(ok | {error, refusal()}) -> ok | {error, refusal()}.
told({error, {Reason, Sentence}} = Refused) ->
    ok = gen_tcp_rs_event:emit([gen_tcp_rs, overlay, refused], #{count => 1},
                               #{reason => Reason, sentence => Sentence}),
    Refused;
told(ok) ->
    ok.

%% @doc Chooses the backend of calls that name none: `rs', or `inet' for what the
%% node had before.
-spec set_default(rs | inet) -> ok | {error, refusal()}.
set_default(rs) ->
    case install() of
        ok -> persistent_term:put(?DEFAULT, rs);
        {error, _Refusal} = Error -> Error
    end;
set_default(inet) ->
    _ = persistent_term:erase(?DEFAULT),
    ok.

%% @doc The default of the node, as far as this application sets it.
-spec default() -> rs | inet.
default() ->
    persistent_term:get(?DEFAULT, inet).

%% @doc Writes the extended inet for the installed one into Directory, for nodes
%% that have no compiler, or whose inet.beam has been stripped.
-spec prepare(file:name_all()) -> {ok, file:filename_all()} | {error, refusal()}.
prepare(Directory) ->
    Stock = stock_md5(),
    case compile_installed(Stock) of
        {ok, Beam} -> write(prepared_file(Directory, Stock), Beam);
        {error, _Refusal} = Error -> Error
    end.

%%% For the application

%% The overlay is loaded if the application's environment doesn't forbid it, and
%% the default is set if the node was started with `-kernel inet_backend rs`.
-spec start() -> ok | {error, refusal()}.
start() ->
    case library() of
        ok -> ok = tune(), start_overlay();
        {error, _Refusal} = Error -> Error
    end.

%% Before anything can open a socket here.
-spec tune() -> ok.
tune() ->
    [Spin, Gather, AdaptiveReads, StayRegistered] =
        [application:get_env(gen_tcp_rs, Switch, true) =/= false
         || Switch <- [spin, gather, adaptive_reads, stay_registered]],
    gen_tcp_rs_nif:tune(Spin, Gather, AdaptiveReads, StayRegistered).

-spec start_overlay() -> ok | {error, refusal()}.
start_overlay() ->
    Wanted = application:get_env(kernel, inet_backend) =:= {ok, rs},
    case application:get_env(gen_tcp_rs, overlay, true) of
        true when Wanted -> set_default(rs);
        true -> install();
        false when Wanted -> refuse(overlay_forbidden);
        false -> ok;
        Other -> refuse({bad_environment, {overlay, Other}})
    end.

%% A node that has no library shall learn it now, not from its first connection.
-spec library() -> ok | {error, refusal()}.
library() ->
    try gen_tcp_rs:which_sockets() of
        _Sockets -> ok
    catch
        error:undef -> refuse({no_library, filename:join(private_directory(), "gen_tcp_rs.so")})
    end.

%% The extended inet stays: sockets may still be held, a start may follow, and to
%% load inet a second time could kill processes that are inside the first.
-spec stop() -> ok.
stop() ->
    set_default(inet).

%%% For the extended inet and the {tcp_module, _} modules

%% Whether a node default of rs holds for a call with these options: not if they
%% choose a {tcp_module, _}, which asks for just that module on the inet side, and
%% not for the callers this backend steps aside for.
-spec serves_caller(term()) -> boolean().
serves_caller([{tcp_module, _Module} | _Options]) -> false;
serves_caller([_Option | Options]) -> serves_caller(Options);
serves_caller(_End) -> serves_caller().

%% A connect or listen costs many times what this look at the stack does. It needs
%% no more than the few frames that a process keeps by default.
-spec serves_caller() -> boolean().
serves_caller() ->
    {current_stacktrace, Stack} = erlang:process_info(self(), current_stacktrace),
    not lists:member(caller(Stack), ?STEPS_ASIDE_FOR).

%% The first module that is no part of the way from gen_tcp to here.
-spec caller([tuple()]) -> module() | unknown.
caller([{Module, _, _, _} | Stack])
  when Module =:= erlang; Module =:= ?MODULE; Module =:= inet; Module =:= gen_tcp;
       Module =:= inet_tcp_rs; Module =:= inet6_tcp_rs; Module =:= local_tcp_rs ->
    caller(Stack);
caller([{Module, _, _, _} | _Stack]) ->
    Module;
caller([]) ->
    unknown.

%%% Installing

%% One at a time: of two loads in a row, the second would purge the stock inet by
%% force. The registered name is the lock (global is not there on every node).
-spec install_alone() -> no_return().
install_alone() ->
    try register(?MODULE, self()) of
        true -> exit({installed, ensure_extended()})
    catch
        error:badarg -> exit(busy)
    end.

-spec wait_for_other() -> ok.
wait_for_other() ->
    Monitor = erlang:monitor(process, ?MODULE),
    receive {'DOWN', Monitor, process, _Other, _Reason} -> ok end.

-spec ensure_extended() -> ok | {error, refusal()}.
ensure_extended() ->
    Version = gen_tcp_rs_overlay:version(),
    case gen_tcp_rs_overlay:identity(inet:module_info(attributes)) of
        {_Stock, Version} -> ok;
        _StockOrOutdated -> load_extended(stock_md5())
    end.

-spec load_extended(binary()) -> ok | {error, refusal()}.
load_extended(Stock) ->
    case read_prepared(Stock) of
        {ok, Prepared} ->
            load(Prepared);
        none ->
            case compile_installed(Stock) of
                {ok, Compiled} -> load(Compiled);
                {error, _Refusal} = Error -> Error
            end
    end.

%% The md5 of the inet that OTP installed, whether or not it is the one in use.
%% Stripping a beam doesn't change it.
-spec stock_md5() -> binary().
stock_md5() ->
    case gen_tcp_rs_overlay:identity(inet:module_info(attributes)) of
        stock -> inet:module_info(md5);
        {Stock, _Overlay} -> Stock
    end.

%% Old code is never purged by force: that would kill whoever is still inside.
%% The file name stays the installed one's, so that code:which/1 and the tools that
%% ask it find what they expect.
-spec load(binary()) -> ok | {error, refusal()}.
load(Beam) ->
    {file, File} = code:is_loaded(inet),
    Sticky = code:is_sticky(inet),
    case code:soft_purge(inet) of
        true ->
            true = code:unstick_mod(inet),
            try code:load_binary(inet, File, Beam) of
                {module, inet} -> ok;
                {error, Reason} -> refuse({load_failed, Reason})
            after
                Sticky andalso code:stick_mod(inet)
            end;
        false ->
            refuse(old_code_in_use)
    end.

%%% The first way: a prepared beam

-spec prepared_file(file:name_all(), binary()) -> file:filename_all().
prepared_file(Directory, Stock) ->
    Name = "inet-" ++ string:lowercase(binary_to_list(binary:encode_hex(Stock))) ++ ".beam",
    filename:join(Directory, Name).

%% A beam made of another inet, or by another version of the overlay, is not ours.
-spec read_prepared(binary()) -> {ok, binary()} | none.
read_prepared(Stock) ->
    Expected = {Stock, gen_tcp_rs_overlay:version()},
    case file:read_file(prepared_file(private_directory(), Stock)) of
        {ok, Beam} ->
            case identity_of_beam(Beam) of
                Expected -> {ok, Beam};
                _Other -> none
            end;
        {error, _Reason} ->
            none
    end.

-spec identity_of_beam(binary()) -> stock | damaged | gen_tcp_rs_overlay:identity().
identity_of_beam(Beam) ->
    case beam_lib:chunks(Beam, [attributes]) of
        {ok, {inet, [{attributes, Attributes}]}} -> gen_tcp_rs_overlay:identity(Attributes);
        _NoSuchModule -> damaged
    end.

%% Written aside and renamed: a node that starts meanwhile reads all or nothing.
-spec write(file:filename_all(), binary()) -> {ok, file:filename_all()} | {error, refusal()}.
write(File, Beam) ->
    Aside = [File, ".new"],
    case write_and_rename(Aside, File, Beam) of
        ok -> {ok, File};
        {error, Reason} -> refuse({not_written, File, Reason})
    end.

-spec write_and_rename(file:name_all(), file:name_all(), binary()) -> ok | {error, term()}.
write_and_rename(Aside, File, Beam) ->
    case filelib:ensure_dir(File) of
        ok ->
            case file:write_file(Aside, Beam) of
                ok -> file:rename(Aside, File);
                {error, _Reason} = Error -> Error
            end;
        {error, _Reason} = Error ->
            Error
    end.

-spec private_directory() -> file:filename().
private_directory() ->
    case code:priv_dir(gen_tcp_rs) of
        {error, bad_name} ->
            %% The modules lie in a directory that is not called after us.
            filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Directory ->
            Directory
    end.

%%% The second way: the compiler

-spec compile_installed(binary()) -> {ok, binary()} | {error, refusal()}.
compile_installed(Stock) ->
    case code:ensure_loaded(compile) of
        {module, compile} ->
            case stock_forms(Stock) of
                {ok, Forms} -> compile(Forms, Stock);
                {error, _Refusal} = Error -> Error
            end;
        {error, _NotThere} ->
            refuse({no_compiler, prepared_file(private_directory(), Stock)})
    end.

-spec compile([tuple()], binary()) -> {ok, binary()} | {error, refusal()}.
compile(Forms, Stock) ->
    case gen_tcp_rs_overlay:compile(Forms, Stock) of
        {ok, Beam} -> {ok, Beam};
        {error, Failure} -> refuse(Failure)
    end.

%% An inet in use that is not the one in its file (cover, or someone else's patch)
%% would be lost if the file's were put in its place.
-spec stock_forms(binary()) -> {ok, [tuple()]} | {error, refusal()}.
stock_forms(Stock) ->
    {file, File} = code:is_loaded(inet),
    case read_beam(File) of
        {ok, Beam} ->
            case beam_lib:md5(Beam) of
                {ok, {inet, Stock}} -> forms(File, Beam);
                _Other -> refuse({inet_replaced, File})
            end;
        error ->
            refuse({inet_replaced, File})
    end.

-spec read_beam(file:filename() | atom()) -> {ok, binary()} | error.
read_beam(File) when is_list(File) ->
    case erl_prim_loader:get_file(File) of
        {ok, Beam, _FullName} -> {ok, Beam};
        error -> error
    end;
read_beam(_CoverCompiled) ->
    error.

-spec forms(file:filename(), binary()) -> {ok, [tuple()]} | {error, refusal()}.
forms(File, Beam) ->
    case beam_lib:chunks(Beam, [abstract_code]) of
        {ok, {inet, [{abstract_code, {raw_abstract_v1, Forms}}]}} -> {ok, Forms};
        _StrippedOrEncrypted -> refuse({no_debug_info, File})
    end.

%%% Refusing

-spec refuse(term()) -> {error, refusal()}.
refuse(Reason) ->
    Sentence = io_lib:format("gen_tcp_rs: ~ts ~ts", [explain(Reason), advice(Reason)]),
    {error, {Reason, lists:flatten(Sentence)}}.

-spec explain(term()) -> string() | iolist().
explain({no_compiler, Prepared}) ->
    ["{inet_backend, rs} needs an extended inet module, but none is prepared for this"
     " release's (", Prepared, " is missing or was made by another version), and the compiler"
     " application is not here to make one."];
explain({no_debug_info, File}) ->
    ["{inet_backend, rs} needs an extended inet module, but none is prepared for this"
     " release's, and ", File, " has been stripped of the debug_info to make one of."];
explain({inet_replaced, File}) ->
    io_lib:format("the module inet in use is not the one installed (~tp): something, such as"
                  " cover, has replaced it, and its work would be lost.", [File]);
explain({inet_not_understood, Missing}) ->
    io_lib:format("this release's inet module lacks ~tp, which the extended one builds on.",
                  [Missing]);
explain({compile_failed, Errors}) ->
    io_lib:format("the extended inet module does not compile: ~tp.", [Errors]);
explain({load_failed, Reason}) ->
    io_lib:format("the extended inet module was not loaded: ~tp.", [Reason]);
explain({not_written, File, Reason}) ->
    io_lib:format("cannot write ~ts: ~ts.", [File, file:format_error(Reason)]);
explain(old_code_in_use) ->
    "inet has been loaded before, and a process is still in the older code.";
explain(overlay_forbidden) ->
    "the node was started with -kernel inet_backend rs, but {gen_tcp_rs, [{overlay, false}]}"
    " forbids to load the extended inet module that this needs.";
explain({no_library, File}) ->
    io_lib:format("the native library ~ts does not load: it is missing, or made for another"
                  " system. See the error report of gen_tcp_rs_nif above.", [File]);
explain({bad_environment, {Name, Value}}) ->
    io_lib:format("the environment says {~tp, ~tp}, which means nothing.", [Name, Value]).

-spec advice(term()) -> string().
advice({NeedsPreparing, _}) when NeedsPreparing =:= no_compiler; NeedsPreparing =:= no_debug_info ->
    "Where the same release is installed with its debug_info and the compiler, run"
    " gen_tcp_rs_backend:prepare(\"priv\") and deploy the file; or" ++ without_overlay();
advice({inet_replaced, _File}) ->
    "Start gen_tcp_rs before it, or" ++ without_overlay();
advice(old_code_in_use) ->
    "Try again later, or restart the node.";
advice(overlay_forbidden) ->
    "Remove one of the two.";
advice({bad_environment, {overlay, _Value}}) ->
    "Use {overlay, true} or {overlay, false}.";
advice({no_library, _File}) ->
    "Build it on the system, or for the system, that runs it.";
advice({not_written, _File, _Reason}) ->
    "Name a directory that can be written.";
advice(_Reason) ->
    "Please report this; meanwhile" ++ without_overlay().

-spec without_overlay() -> string().
without_overlay() ->
    " set {gen_tcp_rs, [{overlay, false}]} and select by {tcp_module, inet_tcp_rs} or by"
    " calling gen_tcp_rs:connect and gen_tcp_rs:listen, which need no extended inet.".
