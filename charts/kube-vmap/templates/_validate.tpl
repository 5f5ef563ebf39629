{{/*
What values.schema.json can't say, or not in words that help. Each check ends the
rendering with a sentence that names the value and what to do.
*/}}
{{- define "kube-vmap.validate" -}}
{{- include "kube-vmap.validateImage" . -}}
{{- include "kube-vmap.validateAPIServer" . -}}
{{- include "kube-vmap.validateDetectLocal" .Values.detectLocal -}}
{{- include "kube-vmap.validateNodePorts" .Values.nodePortAddresses -}}
{{- include "kube-vmap.validateExternalIPs" .Values.externalIPs -}}
{{- include "kube-vmap.validateDurations" .Values -}}
{{- include "kube-vmap.validateUpdate" .Values.updateStrategy -}}
{{- include "kube-vmap.validateMonitoring" .Values -}}
{{- end -}}

{{- define "kube-vmap.validateImage" -}}
{{- with .Values.image -}}
{{- if and .digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .digest)) -}}
{{- fail (printf "image.digest: %q is no digest. It must be sha256: and 64 hexadecimal digits." .digest) -}}
{{- end -}}
{{- if regexMatch "(:[^/]*|@.*)$" .repository -}}
{{- fail (printf "image.repository: %q has a tag or digest. Put it into image.tag or image.digest." .repository) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.validateAPIServer" -}}
{{- with .Values.apiServer.host -}}
{{- if or (contains "/" .) (regexMatch "^[^:]+:[0-9]+$" .) -}}
{{- fail (printf "apiServer.host: %q is no name or IP address. Leave out https://, and put the port into apiServer.port." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.validateDetectLocal" -}}
{{- if and (eq .mode "BridgeInterface") (not .bridgeInterface) -}}
{{- fail "detectLocal.mode is BridgeInterface: set detectLocal.bridgeInterface to the name of the pods' bridge, such as cni0." -}}
{{- end -}}
{{- if and (eq .mode "InterfaceNamePrefix") (not .interfaceNamePrefix) -}}
{{- fail "detectLocal.mode is InterfaceNamePrefix: set detectLocal.interfaceNamePrefix to how the names of pod interfaces begin, such as veth or cali." -}}
{{- end -}}
{{- if and .bridgeInterface (ne .mode "BridgeInterface") -}}
{{- fail (printf "detectLocal.bridgeInterface: it is of no use in mode %s. Set detectLocal.mode to BridgeInterface, or remove it." .mode) -}}
{{- end -}}
{{- if and .interfaceNamePrefix (ne .mode "InterfaceNamePrefix") -}}
{{- fail (printf "detectLocal.interfaceNamePrefix: it is of no use in mode %s. Set detectLocal.mode to InterfaceNamePrefix, or remove it." .mode) -}}
{{- end -}}
{{- if and .clusterCIDRs (ne .mode "ClusterCIDR") -}}
{{- fail (printf "detectLocal.clusterCIDRs: they are of no use in mode %s. Set detectLocal.mode to ClusterCIDR, or remove them." .mode) -}}
{{- end -}}
{{- range .clusterCIDRs -}}
{{- include "kube-vmap.validatePrefix" (list "detectLocal.clusterCIDRs" .) -}}
{{- end -}}
{{- end -}}

{{/* The agent parses prefixes; this finds what is clearly none before a node does. */}}
{{- define "kube-vmap.validatePrefix" -}}
{{- if or (hasPrefix "::ffff:" (last .)) (not (regexMatch "^([0-9]{1,3}(\\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$" (last .))) -}}
{{- fail (printf "%s: %q is no prefix such as 10.244.0.0/16 or fd00:10:244::/56." (first .) (last .)) -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.validateNodePorts" -}}
{{- if has "primary" . -}}
{{- if gt (len .) 1 -}}
{{- fail "nodePortAddresses: primary stands alone. Either [primary], or prefixes." -}}
{{- end -}}
{{- else -}}
{{- range . -}}
{{- include "kube-vmap.validatePrefix" (list "nodePortAddresses" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.validateExternalIPs" -}}
{{- if or (has "all" .) (has "none" .) -}}
{{- if gt (len .) 1 -}}
{{- fail "externalIPs: all and none stand alone. Either [all], [none], or prefixes." -}}
{{- end -}}
{{- else -}}
{{- range . -}}
{{- include "kube-vmap.validatePrefix" (list "externalIPs" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.validateDurations" -}}
{{- if not (regexMatch "^(0s|1s|[0-9]{1,3}ms|1000ms)$" .coalesce) -}}
{{- fail (printf "coalesce: %q is no time from 0s to 1s, such as 5ms." .coalesce) -}}
{{- end -}}
{{- range $name, $value := pick .conntrack "tcpEstablishedTimeout" "tcpCloseWaitTimeout" "udpTimeout" "udpStreamTimeout" -}}
{{- if not (regexMatch "^([0-9]{1,5}(h|m|s|ms)){1,4}$" $value) -}}
{{- fail (printf "conntrack.%s: %q is no time such as 30s, 15m or 24h." $name $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.validateUpdate" -}}
{{- with .rollingUpdate -}}
{{- if and .maxSurge (not (has (toString .maxSurge) (list "0" "0%"))) -}}
{{- fail "updateStrategy.rollingUpdate.maxSurge: must be 0. Two agents can't share the ports of a node; the table stays in the kernel while one follows the other." -}}
{{- end -}}
{{- end -}}
{{- if and (eq .type "OnDelete") .rollingUpdate -}}
{{- fail "updateStrategy.type is OnDelete: set updateStrategy.rollingUpdate to null." -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.validateMonitoring" -}}
{{- if and .podMonitor.enabled (include "kube-vmap.isLoopback" .metrics.bindAddress) -}}
{{- fail (printf "podMonitor.enabled: Prometheus can't reach %s on the nodes. Set metrics.bindAddress, for example to 0.0.0.0, if everyone who reaches the nodes may read the metrics." .metrics.bindAddress) -}}
{{- end -}}
{{- if eq (int .healthz.port) (int .metrics.port) -}}
{{- fail (printf "metrics.port: %d is healthz.port. Choose another." (int .metrics.port)) -}}
{{- end -}}
{{- end -}}
