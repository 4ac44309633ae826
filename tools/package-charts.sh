#!/usr/bin/env bash
# Packages the charts as a release has them: tools/package-charts.sh VERSION REGISTRY FOLDER. In the checkout, charts name images
# without a registry and with the tag latest, as the Dockerfiles' first lines build them; in a release, its own.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: $0 VERSION REGISTRY FOLDER" >&2; exit 2; }
version=$1 registry=$2 folder=$(mkdir -p "$3" && cd "$3" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
mkdir "$draft/charts"
for chart in database-init database-load order-food; do
  # Links are followed: a package holds what they point to.
  cp -RL "charts/$chart" "$draft/charts/$chart"
done
rm -rf "$draft"/charts/*/charts
for chart in database-load order-food; do
  mkdir "$draft/charts/$chart/charts"
  ln -s ../../database-init "$draft/charts/$chart/charts/database-init"
done
find "$draft/charts" -maxdepth 2 -name values.yaml -exec sed -i \
  -e "s|^\( *\)tag: latest\$|\1tag: \"$version\"|" {} +
sed -i "0,/registry: \"\"/s||registry: $registry|" "$draft/charts/database-init/values.yaml" "$draft/charts/database-load/values.yaml"
find "$draft/charts" -maxdepth 2 -name Chart.yaml -exec sed -i \
  -e "s|^version: .*|version: $version|" -e "s|^appVersion: .*|appVersion: \"$version\"|" \
  -e "s|^    version: .*|    version: $version|" {} +
for chart in database-init database-load order-food; do
  helm package "$draft/charts/$chart" --destination "$folder" >/dev/null
done
ls "$folder"
