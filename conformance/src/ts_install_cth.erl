%% The suites ask for this common_test hook of OTP's build system, which is not part of
%% a release. What it does is not needed to run a suite by itself.
-module(ts_install_cth).

-export([id/1, init/2]).

id(_Options) -> ?MODULE.

init(_Id, _Options) -> {ok, none}.
