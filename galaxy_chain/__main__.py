from galaxy_chain.cli import main

if __name__ == "__main__":
    main()
