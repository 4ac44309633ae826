#!/usr/bin/env bash
# Builds and deploys the example shop: database-load first, then order-food, which starts when its schema is there and its
# tables are full. `./deploy.sh help` lists what it takes. Run it again as often as you like.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
usage: ./deploy.sh [VERB] [OPTION…]

  deploy    (the default) installs or upgrades database-load, then order-food, waits, and says what to do next
  build     builds the images database-migration, database-load and order-food, and hands them to the cluster's node
  status    shows releases, workloads, runs and pods
  run-now   runs the CronJob database-load once, waits, and shows its log
  logs      shows the logs of the init containers and of the latest run
  down      uninstalls what deploy installed; the database is not touched, unless it is demo-mysql

  --context NAME      the kubectl context; the current one by default
  --yes               takes a context that is none of minikube, kind-*, docker-desktop, devcluster; needs --context
  --namespace NAME    default
  --with-mysql        deploy: also a MySQL of its own, for development only
  --values FILE       deploy: values for database-load and order-food alike, such as `database:`; may be given several times
  --tag TAG           build, deploy: the tag of the three images; latest by default
  --timeout DURATION  deploy, run-now: how long to wait; 5m by default
  --dry-run           deploy: renders the charts and checks them, and changes nothing

build hands the images over by `minikube image load` or `kind load docker-image`, or by the command in IMAGE_LOAD, which gets
each image's name as its last argument.
TEXT
}

say() { printf '%s\n' "$*" >&2; }
die() { say "deploy.sh: $*"; exit 1; }
misuse() { say "deploy.sh: $*"; usage >&2; exit 2; }

verb=deploy context='' namespace=default yes=false with_mysql=false dry_run=false tag=latest timeout=5m values=()

parse() {
  case ${1:-} in
    deploy | build | status | run-now | logs | down) verb=$1; shift ;;
    help | -h | --help) usage; exit 0 ;;
    -* | '') ;;
    *) misuse "there is no verb $1" ;;
  esac
  while [ $# -gt 0 ]; do
    case $1 in
      --yes) yes=true ;;
      --with-mysql) with_mysql=true ;;
      --dry-run) dry_run=true ;;
      --context | --namespace | --values | --tag | --timeout)
        [ -n "${2:-}" ] || misuse "$1 takes a value"
        case $1 in
          --context) context=$2 ;;
          --namespace) namespace=$2 ;;
          --values) [ -r "$2" ] || misuse "--values $2: there is no such file"; values+=(--values "$2") ;;
          --tag) tag=$2 ;;
          --timeout) [[ $2 =~ ^([0-9]+[hms])+$ ]] || misuse "--timeout takes a duration such as 5m, not $2"; timeout=$2 ;;
        esac
        shift ;;
      -h | --help) usage; exit 0 ;;
      *) misuse "there is no option $1" ;;
    esac
    shift
  done
}

need() {
  local tool
  for tool; do
    command -v "$tool" >/dev/null || die "$tool is not on PATH; install it first"
  done
}

# A wrong context is the one mistake here that can hurt others, so every call names it.
choose_context() {
  local asked=$context
  [ -n "$context" ] || context=$(kubectl config current-context 2>/dev/null) ||
    die "kubectl has no current context; start a cluster (minikube start), or name one with --context"
  case $context in
    minikube | kind-* | docker-desktop | devcluster) ;;
    *)
      if [ -z "$asked" ] || [ "$yes" = false ]; then
        die "context $context is not a local one; if you mean it: --context $context --yes"
      fi
      ;;
  esac
  say "context $context, namespace $namespace"
}

k() { kubectl --context "$context" --namespace "$namespace" "$@"; }
# helm tells of every link in the charts' folders each time.
h() { helm --kube-context "$context" --namespace "$namespace" "$@" 2> >(grep -v 'found symbolic link' >&2); }

build() {
  need docker
  local name file
  for name in database-migration database-load order-food; do
    case $name in
      database-migration) file=migrator/Dockerfile ;;
      database-load) file=loader/Dockerfile ;;
      order-food) file=examples/order-food/Dockerfile ;;
    esac
    say "building $name:$tag"
    docker build --tag "$name:$tag" --file "$file" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" .
    load_image "$name:$tag"
  done
}

load_image() {
  if [ -n "${IMAGE_LOAD:-}" ]; then
    # Words of a command, on purpose.
    # shellcheck disable=SC2086
    $IMAGE_LOAD "$1"
    return
  fi
  case $context in
    minikube)
      # After eval $(minikube docker-env) it was built where it is needed.
      [ -n "${MINIKUBE_ACTIVE_DOCKERD:-}" ] || { need minikube; minikube image load "$1"; } ;;
    kind-*) need kind; kind load docker-image "$1" --name "${context#kind-}" ;;
    docker-desktop) ;;
    *) say "$1 is in the local Docker engine; push it to where $context pulls from, or set IMAGE_LOAD" ;;
  esac
}

# A helm that was killed leaves its release pending, and every later helm refuses it.
check_pending() {
  local status
  status=$(h status "$1" --output json 2>/dev/null | grep -o '"status": *"pending-[a-z]*"' || true)
  case $status in
    '') ;;
    *pending-install*) die "an install of $1 was cut off: helm --kube-context $context -n $namespace uninstall $1, then run this again" ;;
    *) die "an upgrade of $1 was cut off: helm --kube-context $context -n $namespace rollback $1, then run this again" ;;
  esac
}

# release NAME ARGUMENT…: installs or upgrades a release to exactly these values, or renders and checks it
release() {
  local name=$1
  shift
  if [ "$dry_run" = true ]; then
    # The API server can only judge what goes into a namespace that exists.
    local mode=client
    if k get namespace "$namespace" >/dev/null 2>&1; then mode=server; fi
    h lint --strict --quiet "charts/$name" "$@" &&
      h template "$name" "charts/$name" --skip-tests "$@" | k apply --dry-run="$mode" --filename -
    return
  fi
  check_pending "$name"
  say "installing $name"
  h upgrade --install "$name" "charts/$name" --create-namespace --reset-values --wait --timeout "$timeout" "$@" >/dev/null
}

deploy() {
  need helm
  local init=initContainers
  if [ "$with_mysql" = true ]; then release demo-mysql || fail_with demo-mysql; fi
  release database-load --values examples/order-food/kubernetes/database-load.yaml --set-string "image.tag=$tag" ${values[@]+"${values[@]}"} ||
    fail_with database-load
  release order-food --set-string "image.tag=$tag,$init.databaseMigration.image.tag=$tag,$init.databaseLoad.image.tag=$tag" \
    ${values[@]+"${values[@]}"} || fail_with order-food
  [ "$dry_run" = true ] || next_steps
}

fail_with() {
  say "deploy.sh: $1 is not up"
  [ "$dry_run" = true ] || diagnose "$1"
  exit 1
}

# A line for each container of each pod: pod, container, exit code of its last end.
# shellcheck disable=SC2016  # The dollars are the template's.
code='{{with .state.terminated}}{{.exitCode}}{{else}}{{with .lastState.terminated}}{{.exitCode}}{{end}}{{end}}{{"\n"}}'
# shellcheck disable=SC2016
line='{{$p.metadata.name}} {{.name}} '$code
# shellcheck disable=SC2016
ended='{{range $p := .items}}{{range .status.initContainerStatuses}}'$line'{{end}}{{range .status.containerStatuses}}'$line'{{end}}{{end}}'

# Which container of the release's pods failed, how it ended, its last words, and what helps.
diagnose() {
  local pod container code found=false
  while read -r pod container code; do
    case $code in '' | 0) continue ;; esac
    found=true
    say "pod $pod: container $container ended with exit code $code; its last lines:"
    { k logs "$pod" --container "$container" --tail 15 2>/dev/null ||
      k logs "$pod" --container "$container" --previous --tail 15; } >&2 || true
    say "remedy: $(remedy "$code")"
    break
  done < <(k get pods --selector "app.kubernetes.io/instance=$1" --output "go-template=$ended")
  [ "$found" = true ] || say "no container of $1 has ended with an error; what Kubernetes says:"
  k get pods --selector "app.kubernetes.io/instance=$1" >&2 || true
  k get events --field-selector type=Warning --sort-by .lastTimestamp 2>/dev/null | tail -n 8 >&2 || true
}

remedy() {
  case $1 in
    1) echo "a passing fault, such as a database that is not up: Kubernetes tries again by itself; see that $(database) answers" ;;
    2) echo 'a setting is missing or wrong: the last line names it; docs/configuration.md lists what it takes' ;;
    3) echo 'the data or the schema was refused: the last line names file and reason, docs/errors.md the remedy; put it right and deploy again' ;;
    75) echo 'another run holds the lock for longer than this one waits: see the table tableset_runs' ;;
    137) echo 'it was killed: most likely by its memory limit; raise resources.limits.memory' ;;
    *) echo 'docs/errors.md lists every error with its remedy' ;;
  esac
}

database() { if [ "$with_mysql" = true ]; then echo demo-mysql; else echo 'the database in your values'; fi; }

next_steps() {
  cat <<TEXT

The shop is up: its schema is there, its tables are full.

  kubectl --context $context -n $namespace port-forward service/order-food 8080:80    # then http://localhost:8080/products
  ./deploy.sh run-now --context $context --namespace $namespace    # compare the data with its sources now
  ./deploy.sh status  --context $context --namespace $namespace
  ./deploy.sh down    --context $context --namespace $namespace
TEXT
}

status() {
  need helm
  h list
  k get deployments,cronjobs,jobs,pods --selector 'app.kubernetes.io/name in (demo-mysql, database-load, order-food)'
}

seconds_of() {
  local rest=$1 total=0
  while [[ $rest =~ ^([0-9]+)([hms])(.*)$ ]]; do
    case ${BASH_REMATCH[2]} in
      h) total=$((total + BASH_REMATCH[1] * 3600)) ;;
      m) total=$((total + BASH_REMATCH[1] * 60)) ;;
      s) total=$((total + BASH_REMATCH[1])) ;;
    esac
    rest=${BASH_REMATCH[3]}
  done
  echo "$total"
}

run_now() {
  local job state deadline
  job=database-load-manual-$(date +%s)
  k create job "$job" --from cronjob/database-load
  deadline=$((SECONDS + $(seconds_of "$timeout")))
  while :; do
    state=$(k get job "$job" --output 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}')
    case $state in
      *Complete*) k logs "job/$job" --tail 5; say "$job is done"; return ;;
      *Failed*) k logs "job/$job" --tail 15 || true; die "$job failed; what became of it also stands in the table tableset_runs" ;;
    esac
    [ "$SECONDS" -lt "$deadline" ] || die "$job is not done after $timeout; it goes on: ./deploy.sh logs"
    sleep 1
  done
}

logs() {
  local container
  for container in database-migration database-load; do
    say "== init container $container"
    k logs --selector app.kubernetes.io/name=order-food,app.kubernetes.io/component=app --container "$container" --tail 10 --prefix || true
  done
  say '== runs of database-load'
  k logs --selector app.kubernetes.io/name=database-load --tail 10 --prefix || true
}

down() {
  need helm
  local name
  for name in order-food database-load demo-mysql; do
    if h status "$name" >/dev/null 2>&1; then h uninstall "$name" --wait --timeout "$timeout"; fi
  done
}

parse "$@"
need kubectl
choose_context
case $verb in
  deploy) deploy ;;
  build) build ;;
  status) status ;;
  run-now) run_now ;;
  logs) logs ;;
  down) down ;;
esac
