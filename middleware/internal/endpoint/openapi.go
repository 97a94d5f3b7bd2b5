package endpoint

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A Document says what an OpenAPI 3.1 description has besides its endpoints.
type Document struct {
	Title   string
	About   string
	Prefix  string // with variables, which become parameters of the path
	Tag     string
	Always  []int  // statuses with which any endpoint may refuse
	Secures []node // the security schemes, of which one is needed; nil says nothing of it
}

// Describe returns the OpenAPI 3.1 description of a table, in JSON.
func (d *Document) Describe(table []Endpoint) []byte {
	types := schemas{}
	paths := node{}
	for i := range table {
		e := &table[i]
		path := d.Prefix + e.Path
		if path == "" {
			path = "/"
		}
		item, ok := paths[path].(node)
		if !ok {
			item = node{}
			if params := pathParams(path); params != nil {
				item["parameters"] = params
			}
			paths[path] = item
		}
		item[strings.ToLower(e.Method)] = d.operation(types, e)
	}
	root := node{
		"openapi":    "3.1.0",
		"info":       node{"title": d.Title, "description": d.About, "version": "1"},
		"servers":    []node{{"url": "/"}},
		"paths":      paths,
		"components": node{"schemas": types},
	}
	if d.Secures != nil {
		schemes, either := node{}, []node{}
		for i, scheme := range d.Secures {
			name := "key" + strconv.Itoa(i+1)
			schemes[name] = scheme
			either = append(either, node{name: []string{}})
		}
		root["components"].(node)["securitySchemes"] = schemes //nolint:forcetypeassert // as it was just set
		root["security"] = either
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	_ = out.Encode(root) // maps, slices and texts always encode
	return b.Bytes()
}

// pathParams returns the variables of a path.
func pathParams(path string) []node {
	var list []node
	for s := range strings.SplitSeq(path, "/") {
		if name, ok := variable(s); ok {
			p := node{"name": name, "in": "path", "required": true, "schema": node{"type": "string"}}
			if name == keyVariable {
				p["description"] = "The id of a key."
			}
			list = append(list, p)
		}
	}
	return list
}

// operation returns what is said of one endpoint.
func (d *Document) operation(types schemas, e *Endpoint) node {
	op := node{"operationId": e.ID, "summary": e.Short, "tags": []string{d.Tag}}
	if e.Long != "" {
		op["description"] = e.Long
	}
	var params []node
	for _, p := range e.Query {
		params = append(params, p.node(types, "query"))
	}
	for _, p := range e.Header {
		params = append(params, p.node(types, "header"))
	}
	if params != nil {
		op["parameters"] = params
	}
	refused := slices.Concat(d.Always, e.Refused)
	if e.Body != nil {
		op["requestBody"] = node{"content": node{"application/json": node{"schema": types.of(reflect.TypeOf(e.Body))}}}
	}
	answers := node{}
	for _, status := range append([]int{e.Status}, e.Also...) {
		answer := node{"description": http.StatusText(status)}
		if e.Answer != nil {
			answer["content"] = node{"application/json": node{"schema": types.of(reflect.TypeOf(e.Answer))}}
		}
		answers[strconv.Itoa(status)] = answer
	}
	problem := func(description string) node {
		return node{"description": description, "content": node{"application/problem+json": node{"schema": types.of(reflect.TypeFor[Problem]())}}}
	}
	for _, status := range refused {
		answers[strconv.Itoa(status)] = problem(http.StatusText(status))
	}
	answers["default"] = problem("What is refused otherwise, or could not be decided.")
	op["responses"] = answers
	return op
}

func (p *Param) node(types schemas, in string) node {
	schema := node{"type": "string"}
	if p.Type != nil {
		schema = maps.Clone(types.of(reflect.TypeOf(p.Type)))
	}
	if p.Enum != nil {
		schema["enum"] = p.Enum
	}
	return node{"name": p.Name, "in": in, "description": p.Doc, "schema": schema}
}
