{{- define "messenger.labels" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: messenger
{{- end }}
