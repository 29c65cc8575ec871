# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the scripts share: their words on the screen, and the tools that a build needs. Sourced, from the project's root.

readonly MHC_MIN_JDK=22
readonly MHC_JDK_PACKAGE=25 # the release to install where there is none

if [[ -t 1 && -z ${NO_COLOR-} ]]; then
  bold=$'\e[1m' plain=$'\e[0m'
else
  bold='' plain=''
fi

step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '    %s\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# timed WORDS COMMAND...: says what begins and how long it took. A failure in it, be it deep in a function, ends the
# script by set -e, and says so on the way out.
timed() {
  current=$1
  started=$SECONDS
  shift
  step "$current"
  "$@"
  note "done in $((SECONDS - started)) s"
  current=''
}

current=''
trap 'status=$?; ((status == 0)) || [[ -z $current ]] || fail "$current: failed after $((SECONDS - started)) s"' EXIT

# as_root COMMAND...: runs it as root, or fails without asking for a password.
as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

can_install() {
  command -v apt-get >/dev/null && { ((EUID == 0)) || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

apt_refresh() {
  [[ -n ${apt_is_fresh-} ]] || as_root apt-get update -qq
  apt_is_fresh=yes
}

# --- a JDK ------------------------------------------------------------------------------------------------------------

# jdk_version HOME: the feature release of the JDK there; nothing if there is none.
jdk_version() {
  [[ -x $1/bin/javac && -r $1/release ]] || return 0
  sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release"
}

# Prints the home of a JDK that will do: the one in use if it is new enough, else the newest of those installed.
find_jdk() {
  local home version javac newest=0 best=''
  javac=$(command -v javac || true)
  [[ -z $javac ]] || javac=$(readlink -f "$javac")
  for home in "${JAVA_HOME-}" "${javac%/bin/javac}"; do
    version=$(jdk_version "$home")
    if ((${version:-0} >= MHC_MIN_JDK)); then
      printf '%s\n' "$home"
      return
    fi
  done
  for home in /usr/lib/jvm/* /opt/* ~/.sdkman/candidates/java/* ~/.jdks/* ~/.local/share/mise/installs/java/* \
    ~/.asdf/installs/java/*; do
    version=$(jdk_version "$home")
    if ((${version:-0} >= MHC_MIN_JDK && ${version:-0} > newest)); then
      newest=$version
      best=$home
    fi
  done
  [[ -n $best ]] && printf '%s\n' "$best"
}

# The newest JDK package that the machine's own package sources have; nothing if all are too old.
apt_jdk() {
  local version
  for version in 25 26 24 23 22; do
    if [[ -n $(apt-cache madison "openjdk-$version-jdk-headless" 2>/dev/null) ]]; then
      printf 'openjdk-%s-jdk-headless\n' "$version"
      return
    fi
  done
}

codename() { (. /etc/os-release && printf '%s' "${VERSION_CODENAME-}"); }

# Eclipse Temurin's package source, for releases of Debian and Ubuntu that have no JDK this new.
add_temurin_source() {
  local key=/usr/share/keyrings/adoptium.asc list=/etc/apt/sources.list.d/adoptium.list
  apt_install ca-certificates curl &&
    as_root curl -fsSL --connect-timeout 15 --max-time 60 -o "$key" \
      https://packages.adoptium.net/artifactory/api/gpg/key/public &&
    printf 'deb [signed-by=%s] https://packages.adoptium.net/artifactory/deb %s main\n' "$key" "$(codename)" |
    as_root tee "$list" >/dev/null && as_root apt-get update -qq && return
  as_root rm -f "$key" "$list"
  return 1
}

jdk_advice() {
  cat >&2 <<TXT
mhc needs a JDK $MHC_MIN_JDK or later, and none was found in JAVA_HOME, on PATH, in /usr/lib/jvm, /opt, ~/.sdkman or ~/.jdks.
Any one of these gets one; run this script again afterwards:

  1. Debian 13 or later, Ubuntu 24.04 or later:
       sudo apt-get update && sudo apt-get install -y openjdk-$MHC_JDK_PACKAGE-jdk-headless

  2. Any Debian or Ubuntu, from Eclipse Adoptium's package source:
       sudo apt-get update && sudo apt-get install -y ca-certificates curl
       sudo curl -fsSL -o /usr/share/keyrings/adoptium.asc \\
         https://packages.adoptium.net/artifactory/api/gpg/key/public
       echo "deb [signed-by=/usr/share/keyrings/adoptium.asc] https://packages.adoptium.net/artifactory/deb $(
    codename) main" | sudo tee /etc/apt/sources.list.d/adoptium.list
       sudo apt-get update && sudo apt-get install -y temurin-$MHC_JDK_PACKAGE-jdk

  3. Without root: unpack a JDK from https://adoptium.net/temurin/releases/?version=$MHC_JDK_PACKAGE below ~/.jdks, or set
     JAVA_HOME to where it is.
TXT
}

# Sets JAVA_HOME to a JDK that will do, installing one if it has to.
ensure_jdk() {
  local home package
  home=$(find_jdk || true)
  if [[ -z $home ]] && can_install; then
    note "no JDK $MHC_MIN_JDK or later here: installing one"
    apt_refresh
    package=$(apt_jdk)
    if [[ -n $package ]]; then
      apt_install "$package" || true
    elif add_temurin_source; then
      apt_install "temurin-$MHC_JDK_PACKAGE-jdk" || true
    fi
    home=$(find_jdk || true)
  fi
  if [[ -z $home ]]; then
    jdk_advice
    exit 1
  fi
  export JAVA_HOME=$home
  note "JDK $(jdk_version "$home") at $home"
}

# --- everything else --------------------------------------------------------------------------------------------------

has_gtest() { printf '#include <gtest/gtest.h>\n' | "${CXX:-c++}" -E -x c++ - >/dev/null 2>&1; }

# missing_packages build|test: Debian's names of the packages that are not here, for building or also for testing.
missing_packages() {
  command -v "${CC:-cc}" >/dev/null || printf 'gcc\n'
  command -v "${CXX:-c++}" >/dev/null || printf 'g++\n'
  command -v make >/dev/null || printf 'make\n'
  command -v cmake >/dev/null || printf 'cmake\n'
  command -v mvn >/dev/null || printf 'maven\n'
  [[ $1 == test ]] || return 0
  has_gtest || printf 'libgtest-dev\n'
  command -v pkg-config >/dev/null || printf 'pkg-config\n'
  find_python >/dev/null || printf 'python3\npython3-numpy\n'
}

# Without these the tests that want them are skipped.
optional_packages() {
  command -v mpirun >/dev/null || printf 'openmpi-bin\n'
  command -v mpicc >/dev/null || printf 'libopenmpi-dev\n'
}

ensure_optional() {
  local missing
  mapfile -t missing < <(optional_packages)
  ((${#missing[@]})) || return 0
  if can_install; then
    note "installing ${missing[*]}"
    { apt_refresh && apt_install "${missing[@]}"; } && return
  fi
  note "not here: ${missing[*]}; tests that need them are skipped"
}

# Prints a Python that has NumPy.
find_python() {
  local python
  for python in "${PYTHON-}" python3 /usr/bin/python3; do
    if [[ -n $python ]] && "$python" -c 'import numpy' 2>/dev/null; then
      printf '%s\n' "$python"
      return
    fi
  done
  return 1
}

# What the bindings of NVIDIA's libraries are tested with; none of it needs a GPU or a driver.
readonly MHC_NVIDIA_PACKAGES=(nvidia-cuda-runtime==13.0.96 nvidia-cublas==13.1.1.3 nvidia-nccl-cu13==2.30.7
  nvidia-cuda-crt nvidia-cuda-cccl)

# Sets MHC_NVIDIA to a folder with NVIDIA's libraries and headers, fetching them where pip can. Without them the tests that
# want them are skipped, unless MHC_REQUIRE has nvidia.
ensure_nvidia() {
  local folder=$PWD/target/nvidia
  if [[ -z ${MHC_NVIDIA-} && ! -d $folder/nvidia/nccl ]]; then
    rm -rf "$folder"
    if ! python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$folder.part" \
      "${MHC_NVIDIA_PACKAGES[@]}"; then
      rm -rf "$folder.part"
      if [[ ,${MHC_REQUIRE-}, == *,nvidia,* ]]; then
        note 'not there, and pip cannot fetch them, but MHC_REQUIRE has nvidia'
        return 1
      fi
      note 'not there, and pip cannot fetch them: tests that need them are skipped'
      return
    fi
    mv "$folder.part" "$folder"
  fi
  export MHC_NVIDIA=${MHC_NVIDIA-$folder/nvidia}
  note "$MHC_NVIDIA"
}

# ensure_tools build|test: all that the scripts call is here when it returns.
ensure_tools() {
  local missing
  step 'Looking for the tools'
  mapfile -t missing < <(missing_packages "$1")
  if ((${#missing[@]})); then
    if can_install; then
      note "installing ${missing[*]}"
      apt_refresh
      apt_install "${missing[@]}" || fail "apt-get could not install ${missing[*]}; see above"
      mapfile -t missing < <(missing_packages "$1")
    fi
    ((${#missing[@]} == 0)) || fail "missing: ${missing[*]}. On Debian or Ubuntu type
  sudo apt-get update && sudo apt-get install -y ${missing[*]}
and run this script again."
  fi
  [[ $1 != test ]] || ensure_optional
  ensure_jdk
  note "$(cmake --version | head -n 1), $("${CXX:-c++}" --version | head -n 1)"
}

# --- Maven ------------------------------------------------------------------------------------------------------------

jobs() { getconf _NPROCESSORS_ONLN 2>/dev/null || printf '2\n'; }

# maven ARGUMENTS...: without a terminal to ask, and without download bars.
maven() {
  # Java 24 and later warn of what Maven's own libraries do.
  if (($(jdk_version "$JAVA_HOME") >= 24)); then
    local -x MAVEN_OPTS="${MAVEN_OPTS-} --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow"
  fi
  mvn --batch-mode --no-transfer-progress -Dmhc.native.jobs="$(jobs)" "$@" </dev/null
}

readonly MHC_JAR=bench/target/mhc-bench.jar # the demo and the benchmarks, with all that they need

# build_jar [JAR [MAVEN ARGUMENT...]]: without tests, and only if a source is newer than what was built from it.
build_jar() {
  local jar=${1-$MHC_JAR}
  if [[ -f $jar && -z $(find pom.xml native bindings api bench \
    \( -name target -o -name results -o -name __pycache__ \) -prune -o -type f -newer "$jar" -print -quit) ]]; then
    note 'already built'
  else
    timed 'Building' maven --quiet package -DskipTests -Dmhc.native.tests=OFF "${@:2}"
  fi
}
