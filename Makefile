# gen_tcp_rs: `make demo` and `make test` do all set-up by themselves. Building needs no
# more than `rebar3 compile`; the targets here add checks around it.

.DEFAULT_GOAL := help
.PHONY: help setup build demo test soak sound memcheck conformance ecosystem matrix bench docs dialyzer clean

WITH_ENV := . support/env.sh &&

help:
	@echo "make demo       unchanged OTP applications at work on the backend, and a comparison with inet"
	@echo "make test       every check and every test; ends with the numbers of tests passed and failed"
	@echo "make conformance OTP's own suites for gen_tcp, on this backend and on inet (15 minutes)"
	@echo "make ecosystem  cowboy, yaws, ejabberd, RabbitMQ and database clients on it and on inet (root)"
	@echo "make conformance TIER=applications  the same for OTP's ssl, inets and ssh (half an hour)"
	@echo "make matrix     the tests on Debian's other releases of Erlang/OTP (as root); WHAT=quick, WHAT=conformance"
	@echo "make fuzz       the fuzz targets, SECONDS (60) each; fails on any finding"
	@echo "make sound      the library under AddressSanitizer and valgrind, its pollers in loom (5 minutes)"
	@echo "make memcheck   the part of it with valgrind, a quarter of a minute"
	@echo "make soak       20,000 connections with mixed traffic for SECONDS (600), and 100,000 processes killed at work"
	@echo "make bench      every row of the benchmark on inet, socket and rs (half an hour); ROWS=, ROUNDS=: bench/README.md"
	@echo "make bench-framing  how fast frames are found, beside decode_packet and httparse"
	@echo "make bench-dist  Erlang's distribution on this backend, beside inet_tcp (ROUNDS=5, 10 seconds each)"
	@echo "make build      compile everything (what 'rebar3 compile' does)"
	@echo "make setup      check for what the build needs, and install what is missing (Debian 12)"
	@echo "make dialyzer   type analysis of the Erlang code"
	@echo "make docs       the reference of the public modules, in _build/docs"
	@echo "make clean      remove everything that was built"

setup:
	@support/setup.sh build

build: setup
	@$(WITH_ENV) rebar3 compile

demo:
	@support/setup.sh demo
	@$(WITH_ENV) sh demo/run.sh

test:
	@support/setup.sh test
	@$(WITH_ENV) sh support/test.sh

conformance:
	@support/setup.sh conformance
	@$(WITH_ENV) rebar3 compile
	@$(WITH_ENV) sh conformance/run.sh

ecosystem:
	@support/setup.sh build
	@$(WITH_ENV) rebar3 compile
	@$(WITH_ENV) sh ecosystem/run.sh

matrix:
	@support/setup.sh matrix
	@$(WITH_ENV) rebar3 compile
	@$(WITH_ENV) sh matrix/run.sh

fuzz:
	@support/setup.sh test
	@$(WITH_ENV) sh native/fuzz/run.sh $(SECONDS)

sound: memcheck
	@$(WITH_ENV) sh support/sound/sanitize.sh
	@$(WITH_ENV) sh support/sound/loom.sh

memcheck:
	@support/setup.sh sound
	@$(WITH_ENV) rebar3 compile
	@$(WITH_ENV) sh support/sound/memcheck.sh

soak:
	@support/setup.sh test
	@$(WITH_ENV) rebar3 compile
	@$(WITH_ENV) RS_SOAK_SECONDS=$(or $(SECONDS),600) RS_KILLS=100000 \
	    rebar3 ct --dir test --suite soak_SUITE,kill_SUITE

bench:
	@support/setup.sh bench
	@$(WITH_ENV) rebar3 compile
	@$(MAKE) --no-print-directory -s -C c_src_compat
	@$(WITH_ENV) sh bench/run.sh

bench-framing:
	@support/setup.sh build
	@$(WITH_ENV) escript native/proto/benches/compare.escript

bench-dist:
	@support/setup.sh build
	@$(WITH_ENV) rebar3 compile
	@mkdir -p _build/bench
	@$(WITH_ENV) erlc -o _build/bench bench/dist_bench.erl
	@$(WITH_ENV) erl -noshell -pa _build/bench _build/default/lib/gen_tcp_rs/ebin -eval 'dist_bench:main(["$(or $(ROUNDS),5)"])'

docs:
	@support/setup.sh docs
	@$(WITH_ENV) rebar3 compile
	@$(WITH_ENV) escript support/docs.escript

dialyzer:
	@support/setup.sh dialyzer
	@$(WITH_ENV) rebar3 dialyzer

clean:
	@rm -rf _build target priv/*.so priv/*.new priv/*.beam
	@$(MAKE) --no-print-directory -C c_src_compat clean
