# p1_mysql, ProcessOne's MySQL client for Erlang, against a MariaDB server.
# Packages: erlang-p1-mysql mariadb-server

. /ecosystem/common.sh

install -d -o mysql /tmp/mariadb /run/mysqld
mariadb-install-db --no-defaults --user=mysql --datadir=/tmp/mariadb --auth-root-authentication-method=socket \
    >"$RESULTS/install.log" 2>&1
cat >/tmp/start.sql <<SQL
create database ecosystem;
create user ecosystem@'127.0.0.1' identified via mysql_native_password using password('secret');
grant all on *.* to ecosystem@'127.0.0.1';
SQL
mariadbd --no-defaults --user=mysql --datadir=/tmp/mariadb --bind-address=127.0.0.1 --port=3306 \
    --socket=/tmp/mariadb.socket --max-allowed-packet=64M --skip-name-resolve --init-file=/tmp/start.sql \
    >"$RESULTS/server.log" 2>&1 &
wait_for_port 3306
run_client ecosystem_mariadb -pa /usr/lib/erlang/lib/p1_mysql-*/ebin
