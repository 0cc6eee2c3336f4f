package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kelek/store/op"
)

// Source is the node, as this package sees it.
type Source interface {
	// Status is cheap, and what it points to never changes.
	Status() *op.Status
}

// Options of a Server.
type Options struct {
	Source    Source
	Version   string    // build version
	StartedAt time.Time // of the process
}

// Server answers on one listener.
type Server struct {
	source Source
	http   http.Server
}

// Limits of one request and of one connection; a scrape needs a few milliseconds and kilobytes.
const (
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	headerBytesMax = 16 << 10
)

// New makes a server; Serve starts it.
func New(o Options) (*Server, error) {
	registry, err := newRegistry(&o)
	if err != nil {
		return nil, err
	}
	s := &Server{source: o.Source}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /api/v1/status", s.status)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /{$}", s.index)
	s.http = http.Server{
		Handler:           harden(mux),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
	}
	return s, nil
}

// Serve answers until Shutdown; it then returns nil.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); err != http.ErrServerClosed {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

// Shutdown stops accepting and waits for requests under way until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// harden sets the headers that keep a browser from doing anything with an answer but showing it.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "kelek\n\n/livez\n/readyz?verbose\n/api/v1/status\n/metrics\n")
}

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "ok\n")
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	checks := readiness(s.source.Status())
	code, text := http.StatusOK, "ok\n"
	for _, c := range checks {
		if c.failed != "" {
			code, text = http.StatusServiceUnavailable, "not ready: "+c.failed+"\n"
			break
		}
	}
	if r.URL.Query().Has("verbose") {
		text = verbose(checks) + text
	}
	writeText(w, code, text)
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	body, err := json.MarshalIndent(newStatusV1(s.source.Status()), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n')) // a reader that hung up needs no answer
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprint(w, text) // a reader that hung up needs no answer
}
