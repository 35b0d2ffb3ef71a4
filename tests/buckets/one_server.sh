#!/usr/bin/env bash
# Runs a command beside a real S3 server on loopback, then stops it:
#   tests/buckets/one_server.sh FOLDER COMMAND [ARGUMENT...]
# The server is OpenStack Swift with its S3 interface, from Debian's packages swift-proxy, swift-account, swift-container, swift-object and
# memcached. It checks the signature of every request. FOLDER (made; on a file system with extended attributes) holds all that it writes,
# the logs in FOLDER/log. The command finds the address in S3_ENDPOINT, and the keys in S3_ACCESS_KEY and S3_SECRET_KEY. The host's
# /etc/swift stays as it is.
set -euo pipefail

mkdir -p "${1:?folder}"
folder=$(realpath "$1")
shift
user=$(id -un)
own=(env --unset=PYTHONPATH --unset=PYTHONHOME) # Debian's programs with Debian's modules
base=$((20000 + RANDOM % 20000)) # so that two tests do not meet
proxy=$base account=$((base + 1)) container=$((base + 2)) object=$((base + 3)) memory=$((base + 4))
key=$(head --bytes 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
mkdir -p "$folder"/{etc,devices/d1,log,cache}
cd "$folder/etc"

printf '[swift-hash]\nswift_hash_path_prefix = one\nswift_hash_path_suffix = server\n[storage-policy:0]\nname = one\ndefault = yes\n' > swift.conf
for ring in account container object; do
  "${own[@]}" swift-ring-builder "$ring.builder" create 4 1 1
  "${own[@]}" swift-ring-builder "$ring.builder" add --region 1 --zone 1 --ip 127.0.0.1 --port "${!ring}" --device d1 --weight 1
  "${own[@]}" swift-ring-builder "$ring.builder" rebalance
done > "$folder/log/rings" 2>&1
common="bind_ip = 127.0.0.1
workers = 0
user = $user
swift_dir = $folder/etc
log_name = swift
log_level = INFO"
for kind in account container object; do
  cat > "$kind.conf" << END
[DEFAULT]
$common
bind_port = ${!kind}
devices = $folder/devices
mount_check = false
disable_fallocate = true
[pipeline:main]
pipeline = $kind-server
[app:$kind-server]
use = egg:swift#$kind
[$kind-replicator]
recon_cache_path = $folder/cache
END
done
cat > proxy.conf << END
[DEFAULT]
$common
bind_port = $proxy
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth copy slo dlo proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$memory
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = $key .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:proxy-logging]
use = egg:swift#proxy_logging
END

servers=()
stop() {
  local status=$?
  trap - EXIT INT TERM
  kill "${command:-}" "${servers[@]}" 2> /dev/null || true
  wait 2> /dev/null || true
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

memcached --listen=127.0.0.1 --port="$memory" --user="$user" > "$folder/log/memcached" 2>&1 &
servers+=($!)
for kind in account container object proxy; do
  "${own[@]}" "swift-$kind-server" "$folder/etc/$kind.conf" --verbose > "$folder/log/$kind" 2>&1 &
  servers+=($!)
done
for port in "$proxy" "$account" "$container" "$object"; do
  for _ in $(seq 150); do
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && continue 2
    sleep 0.1
  done
  echo "the S3 server did not start: see $folder/log" >&2
  exit 1
done

cd "$OLDPWD"
export S3_ENDPOINT="http://127.0.0.1:$proxy" S3_ACCESS_KEY=test:tester S3_SECRET_KEY="$key"
"$@" & # a trap waits for a command in the foreground
command=$!
wait "$command"
