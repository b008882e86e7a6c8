from galaxy_chain.cli.main import main

if __name__ == "__main__":
    main()
