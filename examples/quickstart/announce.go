package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// announce tells the user, or with -json the program, how to call the service.
// It is the only place where secrets are shown.
func announce(w io.Writer, c config, a *app) error {
	addr, key := a.listener.Addr().String(), a.key.Reveal()
	if c.json {
		return json.NewEncoder(w).Encode(struct {
			Addr          string `json:"addr"`
			Key           string `json:"key"`
			WebhookSecret string `json:"webhook_secret"`
		}{addr, key, a.secret.Reveal()})
	}
	kept := "in memory: a restart forgets keys, credits and webhooks that wait (-db FILE keeps them)"
	if c.db != "" {
		kept = "in " + c.db + ": keys, credits and webhooks that wait survive a restart; earlier keys still work"
	}
	if c.postgres != "" {
		kept = "on PostgreSQL: keys, credits and webhooks that wait are those of all who share it"
	}
	limits := "counted in memory (-redis URL counts them for several processes together)"
	switch {
	case c.redis != "":
		limits = "counted on Redis, together for all who share it"
	case c.postgres != "":
		limits = "counted on PostgreSQL, together for all who share it"
	case c.db != "":
		limits = "counted in " + c.db
	}
	hooks := "off (-webhook URL posts each finished image, signed)"
	if c.webhook != "" {
		hooks = c.webhook + ", verify with " + a.secret.Reveal()
	}
	_, err := fmt.Fprintf(w, `
  Keytoll quickstart: a guarded image API

  listening  http://%[1]s
  key        %[2]s   (shown once; scope image:generate)
  credits    %[3]s on a fresh account, %[4]s an image
  kept       %[5]s
  limits     %[7]s
  webhooks   %[6]s

  Make an image, and look at image.png:

    curl -sSf -X POST http://%[1]s/v1/images -H 'Authorization: Bearer %[2]s' -d '{"prompt":"a lighthouse at dusk"}' -o image.png

  See what is left, list the models (free, but limited), change the key (the old one works for 10 more minutes), revoke it:

    curl -sS http://%[1]s/v1/key -H 'Authorization: Bearer %[2]s'
    curl -sS http://%[1]s/v1/models -H 'Authorization: Bearer %[2]s'
    curl -sS -X POST http://%[1]s/v1/key/rotate -H 'Authorization: Bearer %[2]s'
    curl -sS -X DELETE http://%[1]s/v1/key -H 'Authorization: Bearer %[2]s'

  Ctrl-C stops it.

`, addr, key, grant, imagePrice, kept, hooks, limits)
	return err
}
