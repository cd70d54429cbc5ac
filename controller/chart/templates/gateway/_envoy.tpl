{{/*
Envoy's configuration: envoy/envoy.yaml of the repository (files/envoy.yaml is a link to it) with the changes that a cluster
needs, so that there is no second copy to keep in step. If the file lacks a place that is changed here, rendering fails.

1. The listener listens on all addresses.
2. The engines of all pools are one cluster, whose endpoints come from the controller over EDS.
3. The controller is a Service, with TLS and a token as the values say. Envoy adds the token to the filter's stream and to its
   own, and reads token and certificate again when their Secrets change.
4. Another listener serves the pages of the admin address that the kubelet and Prometheus need; the address stays private.
5. The heap's limit is 80 % of the container's.
6. The access log, which the file has as comments, is on if the values say so.
*/}}

{{/* The element of a list by its name: (list LIST NAME RESULT) puts it into the dict RESULT. */}}
{{- define "warmpath.named" -}}
{{- $name := index . 1 -}}
{{- $result := index . 2 -}}
{{- range index . 0 }}{{ if eq .name $name }}{{ $_ := set $result "found" . }}{{ end }}{{ end -}}
{{- if not $result.found }}{{ fail (printf "files/envoy.yaml has no %s" $name) }}{{ end -}}
{{- end -}}

{{/* All addresses of the pod. */}}
{{- define "warmpath.anyAddress" -}}
{{- $address := (index . 1).Values.listen | trimAll "[]" -}}
{{- $_ := set (index . 0) "address" $address -}}
{{- if eq $address "::" }}{{ $_ := set (index . 0) "ipv4_compat" true }}{{ end -}}
{{- end -}}

{{- define "warmpath.listenerConfig" -}}
{{- $listener := index . 0 -}}

{{- include "warmpath.anyAddress" (list $listener.address.socket_address (index . 1)) -}}
{{- $filter := dict -}}
{{- $manager := (first (first $listener.filter_chains).filters).typed_config -}}
{{- include "warmpath.named" (list $manager.http_filters "warmpath.router" $filter) -}}
{{- $plugin := $filter.found.typed_config.config -}}
{{- $own := fromJson $plugin.configuration.value -}}
{{- $_ := set $plugin.configuration "value" (mergeOverwrite $own (include "warmpath.filterSettings" (index . 1) | fromJson) | toJson) -}}
{{- end -}}

{{- define "warmpath.enginesConfig" -}}
{{- $cluster := index . 0 -}}
{{- $_ := unset $cluster "load_assignment" -}}
{{- $_ := set $cluster "type" "EDS" -}}
{{- /* Envoy's default waits up to 30 seconds before it tries again. */}}
{{- $retry := dict "retry_back_off" (dict "base_interval" "0.25s" "max_interval" "2s") -}}
{{- $service := dict "envoy_grpc" (dict "cluster_name" "warmpath_controller" "authority" "warmpath" "retry_policy" $retry) -}}
{{- $api := dict "api_type" "DELTA_GRPC" "transport_api_version" "V3" "grpc_services" (list $service) "set_node_on_first_message_only" true -}}
{{- /* 0s: a new pod becomes ready with endpoints, not after 15 seconds without any. */}}
{{- $source := dict "resource_api_version" "V3" "initial_fetch_timeout" "0s" "api_config_source" $api -}}
{{- $_ := set $cluster "eds_cluster_config" (dict "service_name" "engines" "eds_config" $source) -}}
{{- end -}}

{{- define "warmpath.controllerConfig" -}}
{{- $cluster := index . 0 -}}
{{- $root := index . 1 -}}
{{- $_ := set $cluster "type" "STRICT_DNS" -}}
{{- $endpoint := first (first $cluster.load_assignment.endpoints).lb_endpoints -}}
{{- $_ := set $endpoint.endpoint.address "socket_address" (dict "address" (include "warmpath.controllerHost" $root) "port_value" 18000) -}}
{{- if $root.Values.auth.enabled }}
{{- $options := index $cluster.typed_extension_protocol_options "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" -}}
{{- $_ := set $options "http_filters" (include "warmpath.tokenFilters" . | fromYamlArray) -}}
{{- end }}
{{- if $root.Values.tls.secret }}
{{- $_ := set $cluster "transport_socket" (include "warmpath.tls" $root | fromYaml) -}}
{{- end }}
{{- end -}}

{{- define "warmpath.tokenFilters" -}}
- name: envoy.filters.http.credential_injector
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
    overwrite: true
    credential:
      name: envoy.http.injected_credentials.generic
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic
        header: authorization
        header_value_prefix: "Bearer "
        credential:
          name: controller_token
          sds_config:
            path_config_source: {path: /etc/envoy/token.yaml, watched_directory: {path: /token}}
- name: envoy.filters.http.upstream_codec
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec
{{- end -}}

{{- define "warmpath.tls" -}}
name: envoy.transport_sockets.tls
typed_config:
  "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
  sni: {{ include "warmpath.controllerHost" . }}
  common_tls_context:
    alpn_protocols: [h2]
    validation_context_sds_secret_config:
      name: controller_ca
      sds_config:
        path_config_source: {path: /etc/envoy/tls.yaml}
{{- end -}}

{{/* The pages of the admin address for the kubelet and Prometheus. */}}
{{- define "warmpath.probesListener" -}}
name: probes
address:
  socket_address: {port_value: 9902}
# Not drained: this is where the kubelet learns that the pod drains.
drain_type: MODIFY_ONLY
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: probes
      http_filters:
      - name: envoy.filters.http.router
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
      route_config:
        name: probes
        virtual_hosts:
        - name: all
          domains: ["*"]
          routes:
          - match: {path: /live}
            direct_response: {status: 200}
          - match: {path: /ready, headers: [{name: ":method", string_match: {exact: GET}}]}
            route: {cluster: admin}
          - match: {path: /stats/prometheus, headers: [{name: ":method", string_match: {exact: GET}}]}
            route: {cluster: admin}
{{- end -}}

{{- define "warmpath.adminCluster" -}}
name: admin
type: STATIC
connect_timeout: 1s
load_assignment:
  cluster_name: admin
  endpoints:
  - lb_endpoints:
    - endpoint: {address: {socket_address: {{ .admin.address.socket_address | toJson }}}}
{{- end -}}

{{/* Bytes of a quantity in Mi or Gi, times 80 %. */}}
{{- define "warmpath.heapBytes" -}}
{{- $mi := trimSuffix "Mi" . -}}
{{- if hasSuffix "Gi" . }}{{ $mi = mul 1024 (trimSuffix "Gi" . | int64) }}{{ end -}}
{{- div (mul (int64 $mi) 1048576 8) 10 -}}
{{- end -}}

{{- define "warmpath.envoyConfig" -}}
{{- $text := .Files.Get "files/envoy.yaml" -}}
{{- if .Values.gateway.accessLog }}{{ $text = regexReplaceAll "(?m)^( {10})#(access_log:|- |  )" $text "${1}${2}" }}{{ end -}}
{{- $config := fromYaml $text -}}
{{- with $config.Error }}{{ fail (printf "files/envoy.yaml: %s" .) }}{{ end -}}
{{- $static := $config.static_resources -}}
{{- $listener := dict -}}
{{- include "warmpath.named" (list $static.listeners "gateway" $listener) -}}
{{- include "warmpath.listenerConfig" (list $listener.found .) -}}
{{- $probes := include "warmpath.probesListener" . | fromYaml -}}
{{- include "warmpath.anyAddress" (list $probes.address.socket_address .) -}}
{{- $_ := set $static "listeners" (append $static.listeners $probes) -}}
{{- $engines := dict -}}
{{- include "warmpath.named" (list $static.clusters "engines" $engines) -}}
{{- include "warmpath.enginesConfig" (list $engines.found .) -}}
{{- $controller := dict -}}
{{- include "warmpath.named" (list $static.clusters "warmpath_controller" $controller) -}}
{{- include "warmpath.controllerConfig" (list $controller.found .) -}}
{{- $_ := set $static "clusters" (append $static.clusters (include "warmpath.adminCluster" $config | fromYaml)) -}}
{{- $heap := dict -}}
{{- include "warmpath.named" (list $config.overload_manager.resource_monitors "envoy.resource_monitors.fixed_heap" $heap) -}}
{{- $_ := set $heap.found.typed_config "max_heap_size_bytes" (include "warmpath.heapBytes" .Values.gateway.resources.limits.memory | int64) -}}
{{- $config | toYaml -}}
{{- end -}}
