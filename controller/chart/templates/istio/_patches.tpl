{{/* The patches of the EnvoyFilter, one definition each; istio/README.md says what goes wrong without each. */}}

{{/* The field `context` of all matches. */}}
{{- define "warmpath.istio.context" -}}
{{ ternary "SIDECAR_OUTBOUND" "GATEWAY" (eq .Values.gateway.istio.mode "sidecar") }}
{{- end -}}

{{- define "warmpath.istio.controllerHost" -}}
{{ include "warmpath.controllerHost" . }}.{{ .Values.clusterDomain }}
{{- end -}}

{{/* In a gateway, all listeners or that of one port; in a sidecar, those of the engines' ports: a list of ports, 0 for all. */}}
{{- define "warmpath.istio.ports" -}}
{{- $istio := .Values.gateway.istio -}}
{{- $ports := list ($istio.port | int) -}}
{{- if eq $istio.mode "sidecar" }}
{{- $ports = list }}
{{- range $istio.backends }}{{ $ports = append $ports (int .port) }}{{ end }}
{{- end -}}
{{ dict "list" ($ports | uniq) | toJson }}
{{- end -}}

{{- define "warmpath.istio.namespace" -}}
{{ .Values.gateway.istio.namespace | default .Release.Namespace }}
{{- end -}}

{{/* The filter's configuration, as JSON. */}}
{{- define "warmpath.istio.filterConfig" -}}
{{- $cluster := printf "outbound|18000||%s" (include "warmpath.istio.controllerHost" .) -}}
{{- $controller := dict "cluster" $cluster -}}
{{- if .Values.auth.enabled }}{{ $_ := set $controller "token_env" "WARMPATH_TOKEN" }}{{ end -}}
{{- $own := dict "pools" (list (dict "name" "default" "models" (list "*"))) "controller" $controller -}}
{{ mergeOverwrite $own (include "warmpath.filterSettings" . | fromJson) | toJson }}
{{- end -}}

{{- define "warmpath.istio.code" -}}
{{- $wasm := .Values.gateway.wasm -}}
{{- if eq $wasm.source "file" -}}
local: {filename: {{ $wasm.path }}}
{{- else -}}
remote:
  # Istio's agent fetches it, checks the sum, and gives Envoy the file. `cluster` is required and unused.
  http_uri: {uri: {{ include "warmpath.wasmUrl" . | quote }}, cluster: unused, timeout: 3600s}
  sha256: {{ $wasm.sha256 }}
{{- end -}}
{{- end -}}

{{/* Where the filter is fetched from. */}}
{{- define "warmpath.wasmUrl" -}}
{{- $wasm := .Values.gateway.wasm -}}
{{- if $wasm.url }}{{ $wasm.url }}
{{- else }}http://{{ include "warmpath.istio.controllerHost" . }}:18002/wasm/{{ $wasm.sha256 }}/warmpath-router.wasm
{{- end -}}
{{- end -}}

{{- define "warmpath.istio.wasm" -}}
"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
config:
  name: warmpath.router
  root_id: warmpath.router
  # Without it, stopping at the headers also stops the body: the filter could never read the prompt.
  allow_on_headers_stop_iteration: true
  # Envoy rebuilds a VM that traps, but not before the back-off has passed.
  failure_policy: FAIL_RELOAD
  reload_config: {backoff: {base_interval: 0.1s}}
  vm_config:
    vm_id: warmpath.router
    runtime: envoy.wasm.runtime.v8
    {{- if .Values.auth.enabled }}
    # The token for the controller is in this environment variable of the proxy's container.
    environment_variables: {host_env_keys: [WARMPATH_TOKEN]}
    {{- end }}
    code:
      {{- include "warmpath.istio.code" . | nindent 6 }}
  configuration:
    "@type": type.googleapis.com/google.protobuf.StringValue
    value: '{{ include "warmpath.istio.filterConfig" . }}'
{{- end -}}

{{/* The match of HTTP filters in the connection manager of a listener: (list $ PORT SUBFILTER). */}}
{{- define "warmpath.istio.httpFilterMatch" -}}
context: {{ include "warmpath.istio.context" (index . 0) }}
listener:
  {{- with index . 1 }}
  portNumber: {{ . }}
  {{- end }}
  filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: {{ index . 2 }}}}}
{{- end -}}

{{/* Routes: those of the gateway, those with a name, or those to the engines' Service. A list of matches. */}}
{{- define "warmpath.istio.routeMatches" -}}
{{- $istio := .Values.gateway.istio -}}
{{- $matches := list -}}
{{- if eq $istio.mode "sidecar" }}
{{- range $istio.backends }}
{{- $vhost := dict "name" (printf "%s:%d" .host (int .port)) "route" (dict "action" "ROUTE") }}
{{- $matches = append $matches (dict "name" (toString .port) "vhost" $vhost) }}
{{- end }}
{{- else if $istio.routes }}
{{- range $istio.routes }}{{ $matches = append $matches (dict "vhost" (dict "route" (dict "name" .))) }}{{ end }}
{{- else }}
{{- $matches = list (dict "vhost" (dict "route" (dict "action" "ROUTE"))) }}
{{- end -}}
{{ dict "list" $matches | toJson }}
{{- end -}}

{{/* Whether the filter is off except on routes that turn it on. */}}
{{- define "warmpath.istio.isShared" -}}
{{- if or .Values.gateway.istio.routes (eq .Values.gateway.istio.mode "sidecar") }}yes{{ end -}}
{{- end -}}

{{/* The engines' clusters, as a list of host and port. Istio's own policy for InferencePools stays. */}}
{{- define "warmpath.istio.clusters" -}}
{{- $backends := list -}}
{{- if ne .Values.gateway.istio.mode "inferencePool" }}{{ $backends = .Values.gateway.istio.backends }}{{ end -}}
{{ dict "list" $backends | toJson }}
{{- end -}}

{{/* The labels of the pods whose proxies are patched, where there is no Gateway to name. */}}
{{- define "warmpath.istio.selector" -}}
{{ .Values.gateway.istio.selector | default (dict "istio" "ingressgateway") | toYaml }}
{{- end -}}

{{/* The same in all modes: Istio labels the pods of a Gateway. */}}
{{- define "warmpath.istio.podLabels" -}}
{{- if eq .Values.gateway.istio.mode "inferencePool" -}}
gateway.networking.k8s.io/gateway-name: {{ .Values.gateway.istio.gateway }}
{{- else -}}
{{ include "warmpath.istio.selector" . }}
{{- end -}}
{{- end -}}
