package main

import (
	"fmt"
	"strings"
)

// memoryRatios compares Keytoll with the fastest of the others in the same run.
// httprate is left out: its window is an estimate, and two keys may share a
// counter.
func memoryRatios(r *report) string {
	g := newRatios()
	inMemory := func(keys, limits, peer string) string {
		return "Limit/keys=" + keys + "/limits=" + limits + "/peer=" + peer + "/mode=serial"
	}
	peers := exact(r)
	against := func(what, keys, limits, aim string) {
		rival := r.least(peers, func(p string) string { return inMemory(keys, limits, p) })
		g.ratio(r, what+", against "+rival, inMemory(keys, limits, "keytoll"), inMemory(keys, limits, rival), "ns/op", 1, " ns", aim)
	}
	against("one limit, hot key", "1", "1", "at most 0.8")
	against("one limit, 10^6 keys", "1000000", "1", "at most 0.5")
	against("three limits, hot key", "1", "3", "")
	against("three limits, 10^6 keys", "1000000", "3", "")
	g.ratio(r, "three limits against one, hot key", inMemory("1", "3", "keytoll"), inMemory("1", "1", "keytoll"), "ns/op", 1, " ns", "at most 2")
	g.ratio(r, "three limits against one, 10^6 keys", inMemory("1000000", "3", "keytoll"), inMemory("1000000", "1", "keytoll"), "ns/op", 1, " ns", "at most 2")
	if v, ok := r.median(inMemory("1000000", "1", "keytoll"), "B/key"); ok {
		g.row("bytes a key, 10^6 keys", digits(v), "", "", "at most 48")
	}
	return g.text()
}

func newRatios() *grid { return newGrid("", "keytoll", "the other", "ratio", "aim") }

// redisRatios compares with the fastest on the same client.
func redisRatios(r *report) string {
	g := newRatios()
	for _, client := range []string{"goredis", "rueidis"} {
		for _, callers := range []string{"1", "64"} {
			g.redis(r, client, callers)
		}
	}
	return g.text()
}

func (g *grid) redis(r *report, client, callers string) {
	name := func(limits, peer string) string {
		return "Redis/keys=10000/limits=" + limits + "/peer=" + peer + "/callers=" + callers
	}
	var peers []string
	for _, p := range r.values("Redis", "peer") {
		if strings.HasSuffix(p, "-"+client) && !strings.HasPrefix(p, "floor") && !strings.HasPrefix(p, "keytoll") {
			peers = append(peers, p)
		}
	}
	where := fmt.Sprintf("%s, %s of 10^4 keys", client, map[string]string{"1": "1 caller", "64": "64 callers"}[callers])
	ours, rival := "keytoll-"+client, r.least(peers, func(p string) string { return name("1", p) })
	g.ratio(r, where+": one limit against "+rival, name("1", ours), name("1", rival), "ops/s", 1e-3, "k/s", "at least 1.0")
	g.ratio(r, where+": three limits against one", name("3", ours), name("1", ours), "ops/s", 1e-3, "k/s", "at least 0.8")
	rival = r.least(peers, func(p string) string { return name("3", p) })
	g.ratio(r, where+": three limits against three calls of "+rival, name("3", ours), name("3", rival), "ops/s", 1e-3, "k/s", "at least 2")
}

// ratio adds a row if there are both figures.
func (g *grid) ratio(r *report, what, ours, other, unit string, factor float64, suffix, aim string) {
	a, ok := r.median(ours, unit)
	b, okToo := r.median(other, unit)
	if ok && okToo && b > 0 {
		g.row(what, digits(a*factor)+suffix, digits(b*factor)+suffix, fmt.Sprintf("%.2f", a/b), aim)
	}
}

// least returns the peer that takes the least time.
func (r *report) least(peers []string, name func(peer string) string) string {
	best, at := "", 0.0
	for _, p := range peers {
		if v, ok := r.median(name(p), "ns/op"); ok && (best == "" || v < at) {
			best, at = p, v
		}
	}
	return best
}

// exact lists the peers that count each key by itself.
func exact(r *report) []string {
	var list []string
	for _, p := range r.values("Limit", "peer") {
		if p != "floor" && p != "keytoll" && !strings.HasPrefix(p, "httprate") {
			list = append(list, p)
		}
	}
	return list
}
