%% What the shared object is made of and from: what it exports and calls, how it is
%% linked, its dependencies with their licences, and its unsafe code.
-module(library_SUITE).

-export([all/0, suite/0]).
-export([exports_its_entry_points_alone/1, is_hardened/1, every_call_is_known/1,
         dependencies_are_justified/1, licences_are_allowed/1, packages_come_from_the_registry/1,
         unsafe_code_is_explained/1]).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [exports_its_entry_points_alone, is_hardened, every_call_is_known, dependencies_are_justified,
     licences_are_allowed, packages_come_from_the_registry, unsafe_code_is_explained].

%% What a program may do with the code of others, under the licence of this one.
-define(LICENCES, ["Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unlicense", "Zlib",
                   "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]).

%% Nothing of the library can be called or replaced by name but the entry points by which the VM
%% loads it: rustler's, as NIFs, and one as a driver.
exports_its_entry_points_alone(_Config) ->
    Symbols = [lists:last(string:lexemes(Line, " "))
               || Line <- run("nm", ["-D", "--defined-only", library()])],
    ["driver_init", "gen_tcp_rs_nif_init", "nif_init"] = lists:sort(Symbols).

%% All relocations are done at load and read-only then, no stack or segment is both
%% written and executed, no path is searched for libraries, and it is never unmapped.
is_hardened(_Config) ->
    Segments = run("readelf", ["-lW", library()]),
    [_] = [relro || "GNU_RELRO" ++ _ <- trimmed(Segments)],
    [Stack] = [Line || "GNU_STACK" ++ _ = Line <- trimmed(Segments)],
    {"RW", _} = {flags(Stack), Stack},
    [] = [Line || "LOAD" ++ _ = Line <- trimmed(Segments), flags(Line) =:= "RWE"],
    Dynamic = trimmed(run("readelf", ["-dW", library()])),
    [_] = [now || Line <- Dynamic, string:find(Line, "BIND_NOW") =/= nomatch],
    [Flags] = [Line || Line <- Dynamic, string:find(Line, "(FLAGS_1)") =/= nomatch],
    [true, true] = [string:find(Flags, Flag) =/= nomatch || Flag <- ["NOW", "NODELETE"]],
    [] = [Line || Line <- Dynamic, Tag <- ["TEXTREL", "RPATH", "RUNPATH"],
                  string:find(Line, Tag) =/= nomatch],
    Needed = [Line || Line <- Dynamic, string:find(Line, "(NEEDED)") =/= nomatch],
    [] = [Line || Line <- Needed,
                  re:run(Line, "\\[(libc|libgcc_s|ld-linux.*)\\.so\\.[0-9]+\\]") =:= nomatch],
    ok.

%% Whatever the library calls is a function of the VM, one that the tests let fail, or one
%% of those below: a new system call has to be put under test.
every_call_is_known(_Config) ->
    Called = [hd(string:lexemes(lists:last(string:lexemes(Line, " ")), "@"))
              || Line <- run("nm", ["-D", "--undefined-only", library()])],
    [] = lists:usort([Name || Name <- Called, not is_of_the_vm(Name)])
        -- (functions_that_fail() ++ other_functions()),
    ok.

is_of_the_vm(Name) ->
    lists:prefix("enif_", Name).

%% native/net/tests/fault/calls.rs
functions_that_fail() ->
    {ok, Source} = file:read_file(path("native/net/tests/fault/calls.rs")),
    {match, Names} = re:run(Source, "^ +[A-Z][A-Za-z]+ ([a-z0-9_]+)\\(|extern \"C\" fn ([a-z0-9_]+)\\(",
                            [global, multiline, {capture, all_but_first, list}]),
    [lists:last(Name) || Name <- Names].

other_functions() ->
    string:lexemes(
      %% Memory: where there is none Rust ends the process, as the VM does. Large deliveries
      %% take theirs from the VM, and do without.
      "bcmp calloc free malloc memcmp memcpy memmove memset mmap64 munmap posix_memalign realloc strlen "
      %% Time and threads. A futex has no failure but EINTR and EAGAIN, which its loops expect.
      "clock_gettime clock_nanosleep nanosleep gettid sched_getaffinity sched_yield syscall sysconf pause "
      "pthread_attr_destroy pthread_attr_init pthread_attr_setstacksize pthread_detach pthread_join "
      "pthread_key_create pthread_key_delete pthread_self pthread_setname_np pthread_setspecific "
      "pthread_attr_getstack pthread_attr_getguardsize pthread_getattr_np "
      %% Of std: a panic's message and its backtrace, how many processors a container has,
      %% and the seeds of its tables.
      "abort dl_iterate_phdr fstat64 getcwd getenv getrandom lseek64 open64 readlink realpath stat64 "
      "statx writev _Unwind_Backtrace _Unwind_DeleteException _Unwind_GetDataRelBase _Unwind_GetIP "
      "_Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart "
      "_Unwind_GetTextRelBase _Unwind_RaiseException _Unwind_Resume _Unwind_SetGR _Unwind_SetIP "
      %% `read` of files by std, and of the waker when its counter has reached 2^64.
      "read "
      %% The C library and the linker themselves.
      "__cxa_atexit __cxa_finalize __cxa_thread_atexit_impl __errno_location __gmon_start__ __tls_get_addr "
      "__xpg_strerror_r _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable dlsym",
      " ").

%% ARCHITECTURE.md says of each crate in the library what it is there for, and of no other.
dependencies_are_justified(_Config) ->
    Tree = run("cargo", ["tree", "--locked", "--quiet", "--package", "gen_tcp_rs_nif", "--edges",
                         "normal,build", "--prefix", "none", "--format", "{p}"]),
    Linked = lists:usort([hd(string:lexemes(Line, " ")) || Line <- Tree])
        -- ["gen_tcp_rs_net", "gen_tcp_rs_nif", "gen_tcp_rs_proto"],
    {ok, Text} = file:read_file(path("ARCHITECTURE.md")),
    [_, Section] = string:split(Text, "## Dependencies"),
    Rows = [string:lexemes(Line, "|") || "| " ++ Line <- string:split(unicode:characters_to_list(Section), "\n", all)],
    Justified = lists:append([string:lexemes(Crates, ", ") || [Crates, Why | _] <- Rows,
                                                              string:trim(Why) =/= "for"]),
    {[], not_justified} = {Linked -- Justified, not_justified},
    {[], not_linked} = {Justified -- Linked, not_linked},
    ok.

%% Every crate, also those that only tests and benchmarks use, leaves the choice of a
%% licence that allows what this one does.
licences_are_allowed(_Config) ->
    Lines = run("cargo", ["tree", "--locked", "--quiet", "--workspace", "--edges", "all", "--target",
                          "all", "--prefix", "none", "--format", "{p}\t{l}"]),
    Licences = lists:usort([{Crate, string:trim(Licence, trailing, " (*)")}
                            || Line <- Lines, [Crate, Licence] <- [string:split(Line, "\t")]]),
    true = length(Licences) > 20,
    [] = [Bad || {_, Licence} = Bad <- Licences, not is_allowed(Licence)],
    ok.

is_allowed(Licence) ->
    Parts = string:split(Licence, " AND ", all),
    lists:all(fun(Part) ->
                      Choices = re:split(string:trim(Part, both, "()"), " OR |/", [{return, list}]),
                      lists:any(fun(Choice) -> lists:member(Choice, ?LICENCES) end, Choices)
              end, Parts).

%% Of each crate the lock file has where it is from and a checksum.
packages_come_from_the_registry(_Config) ->
    [lock_file_is_complete(path(Lock)) || Lock <- ["Cargo.lock", "native/fuzz/Cargo.lock", "native/loom/Cargo.lock"]],
    ok.

lock_file_is_complete(File) ->
    {ok, Text} = file:read_file(File),
    [_ | Packages] = string:split(Text, "[[package]]", all),
    Foreign = [Package || Package <- Packages, string:find(Package, "name = \"gen_tcp_rs_") =:= nomatch],
    true = length(Foreign) > 2,
    [] = [Package || Package <- Foreign, Part <- ["source = \"registry+", "checksum = \""],
                     string:find(Package, Part) =:= nomatch].

%% Each use of unsafe, in tests too, says above it who guarantees what it needs.
unsafe_code_is_explained(_Config) ->
    Files = [File || Crate <- ["proto", "net", "nif", "fuzz"],
                     File <- filelib:wildcard(path("native/" ++ Crate ++ "/**/*.rs")),
                     string:find(File, "/target/") =:= nomatch],
    true = length(Files) > 40,
    Uses = lists:append([unsafe_lines(File) || File <- Files]),
    true = length(Uses) > 20,
    [] = [{File, Number, Line} || {File, Number, Line, false} <- Uses],
    ok.

unsafe_lines(File) ->
    {ok, Text} = file:read_file(File),
    unsafe_lines(File, 1, string:split(Text, "\n", all), []).

unsafe_lines(_File, _Number, [], _Above) ->
    [];
unsafe_lines(File, Number, [Line | Below], Above) ->
    Here = case re:run(Line, "^[^/\"]*\\bunsafe *(\\{|impl|\\()") of
               {match, _} ->
                   [{File, Number, Line, lists:any(fun is_explanation/1, [Line | Above])}];
               nomatch ->
                   []
           end,
    Here ++ unsafe_lines(File, Number + 1, Below, lists:sublist([Line | Above], 6)).

is_explanation(Line) ->
    string:find(Line, "SAFETY:") =/= nomatch.

library() ->
    path("priv/gen_tcp_rs.so").

path(Relative) ->
    filename:join(peer_tool:project_root(), Relative).

trimmed(Lines) ->
    [string:trim(Line) || Line <- Lines].

%% `R`, `RW` or `R E` of a line of program headers, without the space.
flags(Line) ->
    {match, [Flags | _]} = re:run(Line, " ([RWE ]+) (0x)?[0-9a-f]+$", [{capture, all_but_first, list}]),
    [Flag || Flag <- Flags, Flag =/= $\s].

%% The lines that a program prints.
run(Program, Arguments) ->
    Executable = os:find_executable(Program),
    true = Executable =/= false orelse {not_installed, Program},
    Port = open_port({spawn_executable, Executable},
                     [{args, Arguments}, {cd, peer_tool:project_root()}, exit_status, hide, eof]),
    Output = collect(Port, []),
    receive {Port, {exit_status, 0}} -> ok end,
    [Line || Line <- string:split(Output, "\n", all), Line =/= ""].

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, eof} -> lists:flatten(Output)
    end.
