{{- /* A value as text. Helm reads each number of a values file as a fraction, and would write a million of seconds as 1e+06. */}}
{{- define "messenger.text" -}}
{{- if kindIs "float64" . }}{{ if eq (floor .) . }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end }}
{{- else if not (kindIs "invalid" .) }}{{ . }}{{ end }}
{{- end }}
