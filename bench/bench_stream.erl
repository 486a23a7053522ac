%% One way over one connection: blocks of 64 KiB, or messages of {packet,4}. The receiver checks what comes, and answers the
%% last piece with the number of bytes or messages that it has; only then the time ends.
%%
%% Byte p of a stream of blocks is (p mod 65536) mod 251, and the first byte of message i is i mod 64, so that what is lost,
%% doubled or out of place shows without every byte being looked at. The last byte of a stream is 255, and so is the first
%% one of its last message.
-module(bench_stream).

-behaviour(bench_workload).

-export([serve/2, open/4, prepare/2, run/3, shut/1]).
%% For other workloads with the same receiver.
-export([receive_all/4, pieces/2]).

-export_type([mode/0, framing/0, shape/0]).

%% How the receiver takes it. A length is that of recv/2.
-type mode() :: once | true | {active, pos_integer()} | {recv, non_neg_integer()}.
-type framing() :: blocks | messages.
%% What one send gets: a binary, or an iolist.
-type shape() :: binary | {parts, pos_integer()}.

-record(client, {backend, socket, framing, pieces, last, mailbox = 0}).

-define(BLOCK, 65536).
-define(PERIOD, 251).
-define(VARIANTS, 64).
-define(END, 255).
%% Of messages every such one is timed, and the clock is looked at.
-define(SAMPLE, 16).

%%% The receiver

%% Arguments: mode, framing, size (of a message), options (of both ends).
-spec serve(bench_socket:backend(), bench_workload:arguments()) -> {inet:port_number(), fun(() -> ok | {error, term()})}.
serve(Backend, #{mode := Mode, framing := Framing} = Arguments) ->
    bench_server:start(Backend, options(Arguments), 1,
                       fun(Socket) -> receive_all(Backend, Socket, Mode, kind(Framing, Arguments)) end).

options(#{framing := messages, options := Options}) -> [{packet, 4} | Options];
options(#{framing := blocks, options := Options}) -> Options.

kind(blocks, _Arguments) -> blocks;
kind(messages, #{size := Size}) -> {messages, Size}.

%% Until the sender closes.
-spec receive_all(bench_socket:backend(), bench_socket:socket(), mode(), blocks | {messages, pos_integer()}) -> ok.
receive_all(Backend, Socket, Mode, Kind) ->
    case Mode of
        true -> ok = inet:setopts(Socket, [{active, true}]);
        {active, Count} -> ok = inet:setopts(Socket, [{active, Count}]);
        _ -> ok
    end,
    take(Mode, Backend, Socket, Kind, 0).

take({recv, Length} = Mode, Backend, Socket, Kind, Position) ->
    case bench_socket:recv(Backend, Socket, Length) of
        {ok, Data} -> took(Mode, Backend, Socket, Kind, check(Kind, Data, Position));
        {error, closed} -> ok
    end;
take(once, Backend, Socket, Kind, Position) ->
    ok = inet:setopts(Socket, [{active, once}]),
    wait(once, Backend, Socket, Kind, Position);
take(Mode, Backend, Socket, Kind, Position) ->
    wait(Mode, Backend, Socket, Kind, Position).

wait(Mode, Backend, Socket, Kind, Position) ->
    receive
        {tcp, Socket, Data} ->
            took(Mode, Backend, Socket, Kind, check(Kind, Data, Position));
        {tcp_passive, Socket} ->
            {active, Count} = Mode,
            ok = inet:setopts(Socket, [{active, Count}]),
            wait(Mode, Backend, Socket, Kind, Position);
        {tcp_closed, Socket} ->
            ok
    end.

took(Mode, Backend, Socket, Kind, {last, Position}) ->
    ok = bench_socket:send(Backend, Socket, <<Position:64>>),
    take(Mode, Backend, Socket, Kind, 0);
took(Mode, Backend, Socket, Kind, Position) ->
    take(Mode, Backend, Socket, Kind, Position).

check(blocks, Data, Position) ->
    Next = Position + byte_size(Data),
    true = binary:first(Data) =:= (Position band (?BLOCK - 1)) rem ?PERIOD,
    Expected = ((Next - 1) band (?BLOCK - 1)) rem ?PERIOD,
    case binary:last(Data) of
        Expected -> Next;
        ?END -> {last, Next}
    end;
check({messages, Size}, Data, Position) when byte_size(Data) =:= Size ->
    case binary:first(Data) =:= Position band (?VARIANTS - 1) of
        true -> Position + 1;
        false -> ?END = binary:first(Data), {last, Position + 1}
    end.

%%% The sender

%% Arguments as of serve/2, and shape, and mailbox: so many messages lie in the sender's mailbox.
-spec open(bench_socket:backend(), inet:ip4_address(), inet:port_number(), bench_workload:arguments()) -> #client{}.
open(Backend, Address, Port, #{framing := Framing} = Arguments) ->
    {Pieces, Last} = pieces(Framing, Arguments),
    #client{backend = Backend, socket = bench_socket:connect(Backend, Address, Port, options(Arguments)),
            framing = Framing, pieces = Pieces, last = Last, mailbox = maps:get(mailbox, Arguments, 0)}.

%% What is sent in turn, and what is sent last.
-spec pieces(framing(), bench_workload:arguments()) -> {tuple(), iodata()}.
pieces(blocks, #{shape := binary}) ->
    Block = block(),
    {{Block}, last_block(Block)};
pieces(blocks, #{shape := {parts, Count}}) ->
    Block = block(),
    Others = lists:duplicate(Count - 1, Block),
    {{[Block | Others]}, Others ++ [last_block(Block)]};
pieces(messages, #{shape := Shape, size := Size}) ->
    [Last | Messages] = [shaped(Shape, <<First, 0:((Size - 1) * 8)>>) || First <- [?END | lists:seq(0, ?VARIANTS - 1)]],
    {list_to_tuple(Messages), Last}.

shaped(binary, Message) ->
    Message;
shaped({parts, Count}, Message) ->
    Size = byte_size(Message) div Count,
    [binary:copy(binary:part(Message, Size * Index, Size)) || Index <- lists:seq(0, Count - 1)].

block() ->
    << <<(Index rem ?PERIOD)>> || Index <- lists:seq(0, ?BLOCK - 1) >>.

last_block(Block) ->
    <<(binary:part(Block, 0, ?BLOCK - 1))/binary, ?END>>.

-spec prepare(bench_workload:arguments(), #client{}) -> #client{}.
prepare(_Row, #client{mailbox = Mailbox} = Client) ->
    Self = self(),
    _ = [Self ! {in_the_way, Index} || Index <- lists:seq(1, Mailbox)],
    Client#client{mailbox = 0}.

%% An operation is a send.
-spec run(bench_workload:arguments(), pos_integer(), #client{}) -> {bench_workload:result(), #client{}}.
run(_Row, Milliseconds, #client{backend = Backend, socket = Socket} = Client) ->
    #client{framing = Framing, pieces = Pieces, last = Last} = Client,
    Latencies = bench_latency:new(),
    Send = fun(Piece) -> ok = bench_socket:send(Backend, Socket, Piece) end,
    Start = erlang:monotonic_time(nanosecond),
    Deadline = Start + Milliseconds * 1000000,
    Sends = case Framing of
                blocks -> send_blocks(Send, element(1, Pieces), Deadline, Latencies, 0);
                messages -> send_messages(Send, Pieces, Deadline, Latencies, 0)
            end,
    ok = bench_socket:send(Backend, Socket, Last),
    {ok, <<Arrived:64>>} = bench_socket:recv(Backend, Socket, 0),
    End = erlang:monotonic_time(nanosecond),
    Arrived = case Framing of
                  blocks -> (Sends + 1) * iolist_size(Last);
                  messages -> Sends + 1
              end,
    {#{ops => Sends + 1, ns => End - Start, latencies => Latencies}, Client}.

send_blocks(Send, Block, Deadline, Latencies, Sends) ->
    Start = erlang:monotonic_time(nanosecond),
    ok = Send(Block),
    End = erlang:monotonic_time(nanosecond),
    ok = bench_latency:record(Latencies, End - Start),
    case End < Deadline of
        true -> send_blocks(Send, Block, Deadline, Latencies, Sends + 1);
        false -> Sends + 1
    end.

send_messages(Send, Messages, Deadline, Latencies, Sends) when Sends band (?SAMPLE - 1) =/= 0 ->
    ok = Send(element(1 + Sends band (?VARIANTS - 1), Messages)),
    send_messages(Send, Messages, Deadline, Latencies, Sends + 1);
send_messages(Send, Messages, Deadline, Latencies, Sends) ->
    Start = erlang:monotonic_time(nanosecond),
    ok = Send(element(1 + Sends band (?VARIANTS - 1), Messages)),
    End = erlang:monotonic_time(nanosecond),
    ok = bench_latency:record(Latencies, End - Start),
    case End < Deadline of
        true -> send_messages(Send, Messages, Deadline, Latencies, Sends + 1);
        false -> Sends + 1
    end.

-spec shut(#client{}) -> ok.
shut(#client{backend = Backend, socket = Socket}) ->
    bench_socket:close(Backend, Socket).
